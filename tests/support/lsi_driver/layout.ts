/**
 * Where the driver keeps what it shares with the chip: SCRIPTS, start queue, command blocks, data buffers.
 *
 * @module
 */

/** How many commands can be in flight: one for each queue tag that the driver uses. */
export const MAX_DEPTH = 64;

/** Scatter/gather segments of a command. */
export const MAX_SEGMENTS = 16;

/** Where the chip's BARs are put: the places that firmware gives them on a q35. */
export const Bar = { IO: 0xc000, REGISTERS: 0xfe000000, SCRIPTS_RAM: 0xfe002000 } as const;

/** Guest-physical addresses. */
export const Address = {
  /** Words that SCRIPTS keep for themselves. */
  VARIABLES: 0x0800,
  SCRIPTS: 0x1000,
  START_QUEUE: 0x4000,
  /** 64 KiB aligned, so that a tag becomes the second byte of a command block's address. */
  BLOCKS: 0x10000,
  BUFFERS: 0x100000,
} as const;

/** SCRIPTS' own words, by offset from {@linkcode Address.VARIABLES}. */
export const Variable = {
  /** The start queue's entry that is looked at next. */
  START: 0x00,
  /** What DSA is loaded with before a tag is put into it. */
  BLOCKS: 0x04,
  SAVED_DSA: 0x08,
  SAVED_ENTRY: 0x0c,
  MESSAGE_IN: 0x10,
} as const;

/**
 * Entries of the start queue, a ring that always has one that is idle behind the last command. An entry is three words: the SCRIPTS that it
 * runs, the command block, the entry after it.
 */
export const START_ENTRIES = 2 * MAX_DEPTH;
export const START_ENTRY_SIZE = 16;
export const StartEntry = { ACTION: 0x00, BLOCK: 0x04, NEXT: 0x08 } as const;

/** Size of a command block in bytes. */
export const BLOCK_SIZE = 0x100;

/** A command block, by offset. Pairs of words (count, address) are what table-indirect moves take. */
export const Block = {
  /** What SELECT takes: the target's id in bits 16 to 19. */
  SELECT: 0x00,
  /** Address of the SCRIPTS that go on with the data phase. */
  RESUME: 0x04,
  MESSAGES: 0x08,
  CDB: 0x10,
  STATUS: 0x18,
  /** Where a data phase goes that the command should not have. */
  NO_DATA: 0x20,
  MESSAGE_BYTES: 0x28,
  CDB_BYTES: 0x30,
  STATUS_BYTE: 0x40,
  /** Becomes {@linkcode DONE} when the target has left the bus. Aligned like the register that is stored here. */
  DONE_BYTE: 0x44,
  NO_DATA_BYTE: 0x48,
  /** {@linkcode MAX_SEGMENTS} pairs, of which a command uses the last ones. */
  SEGMENTS: 0x80,
} as const;

export const DONE = 1;
