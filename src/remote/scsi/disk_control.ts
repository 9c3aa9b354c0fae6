/**
 * A disk's commands that move no blocks: capacity, cache, start and stop, reservation, diagnostics, format.
 *
 * @module
 */
import { blockRange, u16be, u32be } from "./cdb.ts";
import { checkRange, type DiskModel, flush } from "./disk_model.ts";
import { invalidCdbField, invalidParameter } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";

/** TEST UNIT READY and REZERO UNIT: that the unit is ready has been checked. */
export function nothing(): Outcome {
  return undefined;
}

/** SEEK (6) and (10), obsolete (SCSI-2, section 9.2.15): only the address is looked at. */
export function seek(disk: DiskModel, task: Task): Outcome {
  return checkRange(disk, { lba: blockRange(task.cdb).lba, blocks: 1 });
}

/** READ CAPACITY (10) (SBC-3, section 5.15). */
export function readCapacity10(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  // An LBA needs PMI, obsolete, which asks where access slows down after it: nowhere before the end.
  if ((cdb[8] & 0x01) === 0 && u32be(cdb, 2) !== 0) return invalidCdbField(2);
  const data = new DataView(new ArrayBuffer(8));
  data.setUint32(0, Math.min(disk.blocks - 1, 0xffffffff));
  data.setUint32(4, disk.blockSize);
  return task.reply(new Uint8Array(data.buffer), 8);
}

const READ_CAPACITY_16 = 0x10;

/** SERVICE ACTION IN (16): READ CAPACITY (16) (SBC-3, section 5.16). */
export function serviceActionIn16(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  if ((task.cdb[1] & 0x1f) !== READ_CAPACITY_16) return invalidCdbField(1, 4);
  const data = new DataView(new ArrayBuffer(32));
  data.setBigUint64(0, BigInt(disk.blocks - 1));
  data.setUint32(8, disk.blockSize);
  data.setUint8(13, disk.physicalExponent);
  data.setUint8(14, disk.drive.readOnly ? 0 : 0x80); // LBPME; LBPRZ clear: unmapped blocks read as anything
  return task.reply(new Uint8Array(data.buffer), u32be(task.cdb, 10));
}

/**
 * SYNCHRONIZE CACHE (10) and (16) (SBC-3, sections 5.26 and 5.27). The whole cache goes to the medium whatever the range, and IMMED
 * changes nothing: the status then says more than was asked for.
 */
export function synchronizeCache(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const refusal = checkRange(disk, blockRange(task.cdb));
  return refusal !== undefined || disk.drive.readOnly ? refusal : flush(disk);
}

/** START STOP UNIT (SBC-3, section 5.25). */
export function startStopUnit(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  if (cdb[4] >> 4 !== 0) return invalidCdbField(4, 7); // POWER CONDITION
  if ((cdb[4] & 0x02) !== 0) return invalidCdbField(4, 1); // LOEJ: the medium is not removable
  disk.state.stopped = (cdb[4] & 0x01) === 0;
  const NO_FLUSH = 0x04;
  return disk.state.stopped && (cdb[4] & NO_FLUSH) === 0 && !disk.drive.readOnly ? flush(disk) : undefined;
}

/** PREVENT ALLOW MEDIUM REMOVAL (SBC-3, section 5.10): the medium cannot be removed in any case. */
export function preventAllowMediumRemoval(_disk: DiskModel, task: Task): Outcome {
  return (task.cdb[4] & 0x02) !== 0 ? invalidCdbField(4, 1) : undefined; // obsolete values
}

/** RESERVE (6) and (10) of a whole unit for the initiator itself (SCSI-2, section 9.2.12). */
export function reserve(disk: DiskModel, task: Task): Outcome {
  const refusal = checkReservation(task);
  if (refusal === undefined) disk.state.reserved = true;
  return refusal;
}

/** RELEASE (6) and (10) (SCSI-2, section 9.2.11). */
export function release(disk: DiskModel, task: Task): Outcome {
  const refusal = checkReservation(task);
  if (refusal === undefined) disk.state.reserved = false;
  return refusal;
}

/** Third-party and extent reservations, obsolete both, are refused. */
function checkReservation({ cdb }: Task): Outcome {
  if ((cdb[1] & 0x10) !== 0) return invalidCdbField(1, 4); // 3RDPTY
  if ((cdb[1] & 0x01) !== 0) return invalidCdbField(1, 0); // EXTENT
  return undefined;
}

/** SEND DIAGNOSTIC (SPC-4, section 6.42): the default self-test, which has nothing to test that could fail alone. */
export function sendDiagnostic(_disk: DiskModel, task: Task): Outcome {
  const { cdb } = task;
  if (cdb[1] >> 5 !== 0) return invalidCdbField(1, 7); // SELF-TEST CODE
  if (u16be(cdb, 3) !== 0) return invalidCdbField(3); // PARAMETER LIST LENGTH: there are no diagnostic pages
  return undefined;
}

/** Byte 1 of FORMAT UNIT. */
const Format = { FMTPINFO: 0xc0, LONGLIST: 0x20, FMTDATA: 0x10, DEFECT_LIST_FORMAT: 0x07 } as const;

/**
 * FORMAT UNIT (SBC-3, section 5.3) without initialization pattern, defect list or protection information. What blocks hold
 * afterwards is the device's choice then, and this one chooses what they held before.
 */
export function formatUnit(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  if ((cdb[1] & Format.FMTPINFO) !== 0) return invalidCdbField(1, 7);
  if ((cdb[1] & Format.FMTDATA) !== 0) return formatList(disk, task, (cdb[1] & Format.LONGLIST) !== 0 ? 8 : 4);
  return (cdb[1] & Format.DEFECT_LIST_FORMAT) !== 0 ? invalidCdbField(1, 2) : undefined;
}

/** The FORMAT UNIT parameter list (SBC-3, section 5.3), which has to be a header of defaults. */
function* formatList(_disk: DiskModel, task: Task, headerLength: 4 | 8): Steps<Outcome> {
  const FOV = 0x80, IMMED = 0x02;
  const list = yield* task.receive(headerLength);
  if ((list[0] & 0x07) !== 0) return invalidParameter(0, 2); // PROTECTION FIELDS USAGE
  const options = list[1] & ~IMMED;
  if (options !== 0 && options !== FOV) return invalidParameter(1, 6); // DPRY, DCRT, STPF, IP
  const defects = headerLength === 4 ? u16be(list, 2) : u32be(list, 4);
  if (defects !== 0) return invalidParameter(headerLength === 4 ? 2 : 4);
  return undefined;
}
