/**
 * What the chip holds beside its registers: the state that a snapshot of the device is made of.
 *
 * @module
 */
import { bytes, defineState, type StateRecord, type StateValues } from "../../device/state.ts";
import { Reg } from "./registers.ts";

/** Size of the SCRIPTS RAM in bytes (manual, section 2.2.2). */
export const SCRIPTS_RAM_SIZE = 0x2000;

/** What the SCRIPTS processor waits for, while ISTAT1.SRUN says that it runs. */
export const Wait = {
  /** Nothing: it executes. */
  NONE: 0,
  /** The SCSI bus: a REQ/ of the target, or a free bus. The instruction is in DCMD, DBC and DSPS. */
  BUS: 1,
  /** A reselection, or SIGP. */
  RESELECT: 2,
  /** Nothing, but it is in the middle of a long instruction. */
  CONTINUE: 3,
} as const;

const FIELDS = {
  /** The register file, in the layout of the manual's chapter 4. */
  registers: bytes(Reg.SIZE),
  scriptsRam: bytes(SCRIPTS_RAM_SIZE),
  /** The ALU's carry, 0 or 1; no register shows it. */
  carry: "u8",
  /** Which of {@linkcode Wait}. */
  wait: "u8",
  /** A memory move in progress: bytes still to copy, and the next addresses. */
  moveCount: "u32",
  moveSource: "u32",
  moveDestination: "u32",
  /** Length of the block move in progress. */
  blockLength: "u32",
  /** Interrupts stacked behind those that DSTAT, SIST0 and SIST1 show. */
  stackedDstat: "u8",
  stackedSist0: "u8",
  stackedSist1: "u8",
  /** Level of the interrupt pin. */
  pinAsserted: "bool",
  /** Nanoseconds until the general purpose timer expires; negative when it is not running. Filled in by `save`. */
  generalTimer: "f64",
} as const;

/** The chip's own state. */
export const ChipState = defineState("lsi53c895a", 1, FIELDS);

/** A record of {@linkcode ChipState}. */
export type ChipRecord = StateValues<typeof FIELDS> & StateRecord;

/** PCI configuration space. */
export const PciState = defineState("lsi53c895a.pci", 1, { config: bytes(0x100) });

/** Most commands that the adapter keeps track of at a time; a target answers TASK SET FULL to one more. */
export const MAX_PROCESSES = 1024;

/** Bytes of one command in {@linkcode BusState}'s `processes`: target, lun, tag, flags, status, and three reserved. */
export const PROCESS_SIZE = 8;

/** The SCSI bus and the commands on it. */
export const BusState = defineState("lsi53c895a.bus", 1, {
  connected: "bool",
  reselected: "bool",
  selecting: "bool",
  target: "u8",
  /** The logical unit; 0xff before IDENTIFY. */
  lun: "u8",
  /** Whether a queue tag message came, and its tag. */
  tagged: "bool",
  tag: "u8",
  /** The task attribute of the queue tag message. */
  attribute: "u8",
  disconnectPrivilege: "bool",
  attention: "bool",
  /** Whether a target that was selected without ATN/ still takes a message. */
  messageOutTolerated: "bool",
  /** What the target does after the message bytes in `messageIn`. */
  afterMessage: "u8",
  messageIn: bytes(16),
  messageInCount: "u8",
  messageOut: bytes(258),
  messageOutCount: "u32",
  cdb: bytes(16),
  cdbCount: "u8",
  /** Index into `processes` of the connected command; 0xffffffff for none. */
  current: "u32",
  processCount: "u32",
  processes: bytes(MAX_PROCESSES * PROCESS_SIZE),
});
