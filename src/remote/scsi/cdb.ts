/**
 * Fields of command descriptor blocks and parameter data. SCSI is big-endian throughout.
 *
 * @module
 */

/** Operation codes (SPC-4, annex F; SBC-3, section 5.1). */
export const OperationCode = {
  TEST_UNIT_READY: 0x00,
  REZERO_UNIT: 0x01,
  REQUEST_SENSE: 0x03,
  FORMAT_UNIT: 0x04,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  SEEK_6: 0x0b,
  INQUIRY: 0x12,
  MODE_SELECT_6: 0x15,
  RESERVE_6: 0x16,
  RELEASE_6: 0x17,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  SEND_DIAGNOSTIC: 0x1d,
  PREVENT_ALLOW_MEDIUM_REMOVAL: 0x1e,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  SEEK_10: 0x2b,
  WRITE_AND_VERIFY_10: 0x2e,
  VERIFY_10: 0x2f,
  SYNCHRONIZE_CACHE_10: 0x35,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  MODE_SELECT_10: 0x55,
  RESERVE_10: 0x56,
  RELEASE_10: 0x57,
  MODE_SENSE_10: 0x5a,
  READ_16: 0x88,
  WRITE_16: 0x8a,
  WRITE_AND_VERIFY_16: 0x8e,
  VERIFY_16: 0x8f,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
  WRITE_AND_VERIFY_12: 0xae,
  VERIFY_12: 0xaf,
} as const;

/** Two bytes, unsigned. */
export function u16be(data: Uint8Array, at: number): number {
  return (data[at] << 8) | data[at + 1];
}

/** Three bytes, unsigned. */
export function u24be(data: Uint8Array, at: number): number {
  return (data[at] << 16) | u16be(data, at + 1);
}

/** Four bytes, unsigned. */
export function u32be(data: Uint8Array, at: number): number {
  return u16be(data, at) * 0x10000 + u16be(data, at + 2);
}

/** Eight bytes, unsigned. Over 2^53 the value is rounded: it lies beyond every medium then. */
export function u64be(data: Uint8Array, at: number): number {
  return u32be(data, at) * 0x100000000 + u32be(data, at + 4);
}

/** A run of logical blocks. */
export interface BlockRange {
  /** First logical block address. */
  readonly lba: number;
  /** How many blocks. */
  readonly blocks: number;
}

/**
 * The LBA and length of a medium access CDB, whose places the operation code's group fixes (SPC-4, section 4.2). In
 * the 6-byte form, a length of zero means 256 blocks (SCSI-2, section 9.2.5).
 */
export function blockRange(cdb: Uint8Array): BlockRange {
  switch (cdb[0] >> 5) {
    case 0:
      return { lba: u24be(cdb, 1) & 0x1fffff, blocks: cdb[4] || 256 };
    case 4:
      return { lba: u64be(cdb, 2), blocks: u32be(cdb, 10) };
    case 5:
      return { lba: u32be(cdb, 2), blocks: u32be(cdb, 6) };
    default:
      return { lba: u32be(cdb, 2), blocks: u16be(cdb, 7) };
  }
}
