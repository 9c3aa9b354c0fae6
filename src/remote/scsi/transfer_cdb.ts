/**
 * The fields that READ, WRITE, VERIFY and WRITE AND VERIFY share (SBC-3, chapter 5).
 *
 * @module
 */
import type { BlockRange } from "./cdb.ts";
import { checkRange, type DiskModel, Limit } from "./disk_model.ts";
import { invalidCdbField } from "./sense.ts";
import type { Outcome } from "./task.ts";

/** RDPROTECT, WRPROTECT or VRPROTECT, in byte 1 of the longer CDBs. */
const PROTECT = 0xe0;
/** In the same byte: the medium, not a volatile cache. */
const FUA = 0x08;

/** Whether a READ or WRITE is to reach the medium. */
export function hasFua(cdb: Uint8Array): boolean {
  return isLong(cdb) && (cdb[1] & FUA) !== 0;
}

/** Checks protection (not supported), the transfer length and the range. */
export function checkTransfer(disk: DiskModel, cdb: Uint8Array, range: BlockRange): Outcome {
  if (isLong(cdb) && (cdb[1] & PROTECT) !== 0) return invalidCdbField(1, 7);
  if (range.blocks * disk.blockSize > Limit.TRANSFER) return invalidCdbField(lengthField(cdb));
  return checkRange(disk, range);
}

/** Whether byte 1 holds flags, and not the LBA's top as in the 6-byte CDBs. */
function isLong(cdb: Uint8Array): boolean {
  return cdb[0] >> 5 !== 0;
}

/** Where the transfer length is. */
function lengthField(cdb: Uint8Array): number {
  return [4, 7, 7, 0, 10, 6, 0, 0][cdb[0] >> 5];
}
