/**
 * What the instructions of the SCRIPTS processor work on.
 *
 * @module
 */
import type { BusMaster, RegisterPort } from "./bus_master.ts";
import type { ChipRecord, Wait } from "./chip_state.ts";
import type { Connection } from "./connection.ts";
import { Ccntl1, Reg, type RegisterFile } from "./registers.ts";

/** The parts of the chip that SCRIPTS reach. */
export interface ChipParts {
  readonly chip: ChipRecord;
  readonly file: RegisterFile;
  /** The registers with their side effects. */
  readonly port: RegisterPort;
  readonly master: BusMaster;
  readonly connection: Connection;
}

/** The processor, as an instruction sees it. */
export interface ScriptsContext extends ChipParts {
  /** Whether SCRIPTS run. An instruction that moves bytes checks it: they may have landed in ISTAT or DSP. */
  readonly running: boolean;
  /** Stops SCRIPTS with a DMA interrupt (DSTAT bits). */
  dmaInterrupt(dstat: number): void;
  /** Posts SCSI interrupts (SIST0 and SIST1 bits), which stop SCRIPTS unless they are nonfatal and masked. */
  scsiInterrupt(sist0: number, sist1: number): void;
  /** Comes back to the current instruction later. */
  wait(reason: typeof Wait[keyof typeof Wait]): void;
  /** Accounts for `bytes` moved. @returns Whether the current slice has time left. */
  spend(bytes: number): boolean;
  /** Real work was done, which may have taken time: SCRIPTS are not just spinning. */
  progressed(): void;
  /** A selection has begun that no target will answer. */
  selectionUnanswered(): void;
  /** For instructions that need the bus: ends an unanswered selection with STO. @returns Whether there was one. */
  selectionTimedOut(): boolean;
  /** Takes a waiting reselection, with its interrupt where that is enabled. @returns Whether there was one. */
  acceptReselection(): boolean;
}

/** The signed offset in a dword's low 24 bits, as table indirect and relative addressing have it. */
export function signed24(value: number): number {
  return (value << 8) >> 8;
}

/**
 * A 64-bit PCI address from a selector register (manual, section 4.3) and its low dword. Beyond 2^53 it is inexact, but
 * nothing is there either.
 */
export function longAddress(file: RegisterFile, selector: number, low: number): number {
  const high = file.has(Reg.CCNTL1, Ccntl1.DDAC) ? 0 : file.dword(selector);
  return high === 0 ? low : high * 0x100000000 + low;
}
