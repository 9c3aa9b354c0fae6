/**
 * The benchmark guest: how long accesses to a device's registers take, seen from the guest.
 *
 * @module
 */

import { buildPvhGuest } from "../pvh_guest.ts";
import source from "./registers.asm" with { type: "text" };

/** What to measure. */
export interface RegistersOptions {
  /** How many accesses of each kind. @default {10_000} */
  readonly accesses?: number;
  /** The device. @default {0x1000} (LSI Logic) */
  readonly vendorId?: number;
  /** The device. @default {0x0012} (LSI 53C895A) */
  readonly deviceId?: number;
  /**
   * A dword register in the first memory BAR that can be read and written without side effects.
   * @default {0x34} (the LSI 53C895A's SCRATCHA)
   */
  readonly barOffset?: number;
}

/** One line of what the guest prints. */
export interface Measurement {
  /** `nothing` (the loop alone), `bar-read`, `bar-write`, `bar-write-read` (two accesses) or `config-read`. */
  readonly name: string;
  readonly accesses: number;
  /** Cycles of the guest's time-stamp counter, for all of them. */
  readonly cycles: number;
}

/** The guest as a PVH ELF file. */
export function buildRegistersKernel(options: RegistersOptions = {}): Uint8Array<ArrayBuffer> {
  const { accesses = 10_000, vendorId = 0x1000, deviceId = 0x0012, barOffset = 0x34 } = options;
  const constants = { ACCESSES: accesses, DEVICE_ID: deviceId * 0x10000 + vendorId, BAR_OFFSET: barOffset };
  return buildPvhGuest(source, { constants });
}

/** Finds the measurements in what the guest printed. */
export function parseMeasurements(output: string): Measurement[] {
  const line = /^bench: (\S+) (\d+) accesses, cycles 0x([0-9a-f]{16})\r?$/gm;
  return Array.from(output.matchAll(line), ([, name, accesses, cycles]) => ({
    name,
    accesses: Number(accesses),
    cycles: parseInt(cycles, 16),
  }));
}
