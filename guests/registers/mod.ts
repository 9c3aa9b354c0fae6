/**
 * The benchmark guest: how long accesses to the LSI 53C895A take, seen from the guest.
 *
 * @module
 */

import { buildPvhGuest } from "../pvh_guest.ts";
import source from "./registers.asm" with { type: "text" };

/** How much to measure. */
export interface RegistersOptions {
  /** How many accesses of each kind come first and are not timed. @default {1000} */
  readonly warmUp?: number;
  /** How many accesses of a kind are timed together. @default {1000} */
  readonly accesses?: number;
  /** How often all kinds get their turn. @default {8} */
  readonly rounds?: number;
}

/** Kinds of accesses, as the guest names them; `nothing` is the loop alone. */
export const ACCESS_NAMES = [
  "nothing",
  "load",
  "load-effect",
  "store",
  "store-ram",
  "store-load",
  "config-read",
] as const;

/**
 * One of them: a load of DSP, which has no side effect; of DSTAT, which has one; a store to SCRATCHA, and to SCRIPTS RAM;
 * a store to SCRATCHA and a load of it; a read of vendor and device ID by way of the ports 0xcf8 and 0xcfc.
 */
export type AccessName = typeof ACCESS_NAMES[number];

/** One line of what the guest prints. */
export interface Measurement {
  readonly name: AccessName;
  readonly accesses: number;
  /** Cycles of the guest's time-stamp counter, for all of them. */
  readonly cycles: number;
}

/** The guest as a PVH ELF file. */
export function buildRegistersKernel(options: RegistersOptions = {}): Uint8Array<ArrayBuffer> {
  const { warmUp = 1000, accesses = 1000, rounds = 8 } = options;
  return buildPvhGuest(source, { constants: { WARM_UP: warmUp, ACCESSES: accesses, ROUNDS: rounds } });
}

/** Finds the measurements in what the guest printed, in its order. */
export function parseMeasurements(output: string): Measurement[] {
  const line = new RegExp(`^bench: (${ACCESS_NAMES.join("|")}) (\\d+) accesses, cycles 0x([0-9a-f]{16})\\r?$`, "gm");
  return Array.from(output.matchAll(line), ([, name, accesses, cycles]) => ({
    name: name as AccessName,
    accesses: Number(accesses),
    cycles: parseInt(cycles, 16),
  }));
}
