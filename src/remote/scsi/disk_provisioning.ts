/**
 * UNMAP and WRITE SAME: giving blocks back, and writing many alike (SBC-3, section 4.7).
 *
 * @module
 */
import { type BlockRange, blockRange, OperationCode, u16be, u32be, u64be } from "./cdb.ts";
import { access, checkRange, checkWritable, type DiskModel, flush, Limit, writesThrough } from "./disk_model.ts";
import { invalidCdbField, invalidParameter, type Sense, SenseCode } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";

const UNMAP_HEADER = 8;
const UNMAP_DESCRIPTOR = 16;

/** UNMAP (SBC-3, section 5.28). */
export function unmap(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  if ((task.cdb[1] & 0x01) !== 0) return invalidCdbField(1, 0); // ANCHOR
  const length = u16be(task.cdb, 7);
  const refusal = checkWritable(disk);
  if (refusal !== undefined || length === 0) return refusal;
  return unmapList(disk, task, length);
}

function* unmapList(disk: DiskModel, task: Task, length: number): Steps<Outcome> {
  const list = yield* task.receive(length);
  const ranges = unmapRanges(disk, list);
  if (!Array.isArray(ranges)) return ranges;
  for (const { lba, blocks } of ranges) {
    const [offset, bytes] = [lba * disk.blockSize, blocks * disk.blockSize];
    const failure = yield* access(disk, "discard", lba, (done) => disk.drive.discard(offset, bytes, done));
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/** The ranges of an UNMAP parameter list, or what is wrong with it; nothing is unmapped in that case. */
function unmapRanges(disk: DiskModel, list: Uint8Array): BlockRange[] | Sense {
  if (list.length < UNMAP_HEADER) return SenseCode.PARAMETER_LIST_LENGTH_ERROR;
  // An incomplete last descriptor is ignored.
  const count = Math.floor(u16be(list, 2) / UNMAP_DESCRIPTOR);
  if (list.length < UNMAP_HEADER + count * UNMAP_DESCRIPTOR) return SenseCode.PARAMETER_LIST_LENGTH_ERROR;
  if (count > Limit.UNMAP_DESCRIPTORS) return invalidParameter(2);
  const ranges: BlockRange[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    const at = UNMAP_HEADER + i * UNMAP_DESCRIPTOR;
    const range = { lba: u64be(list, at), blocks: u32be(list, at + 8) };
    const refusal = checkRange(disk, range);
    if (refusal !== undefined) return refusal;
    total += range.blocks * disk.blockSize;
    if (total > Limit.UNMAP) return invalidParameter(at + 8);
    if (range.blocks > 0) ranges.push(range);
  }
  return ranges;
}

/** Byte 1 of WRITE SAME. */
const WriteSame = { NDOB: 0x01, OBSOLETE: 0x06, UNMAP: 0x08, ANCHOR: 0x10, WRPROTECT: 0xe0 } as const;

/** WRITE SAME (10) and (16): SBC-3, sections 5.43 and 5.44. */
export function writeSame(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  const long = cdb[0] === OperationCode.WRITE_SAME_16;
  const range = blockRange(cdb);
  if ((cdb[1] & WriteSame.WRPROTECT) !== 0) return invalidCdbField(1, 7);
  if ((cdb[1] & WriteSame.ANCHOR) !== 0) return invalidCdbField(1, 4);
  if ((cdb[1] & WriteSame.OBSOLETE) !== 0) return invalidCdbField(1, 2);
  if ((cdb[1] & WriteSame.NDOB) !== 0 && !long) return invalidCdbField(1, 0);
  // Zero would mean "to the end of the medium", which WSNZ of the Block Limits page rules out.
  if (range.blocks === 0 || range.blocks * disk.blockSize > Limit.WRITE_SAME) return invalidCdbField(long ? 10 : 7);
  return checkRange(disk, range) ?? writeSameBlocks(disk, task, range);
}

function* writeSameBlocks(disk: DiskModel, task: Task, range: BlockRange): Steps<Outcome> {
  const block = (task.cdb[1] & WriteSame.NDOB) === 0 ? yield* task.receive(disk.blockSize) : undefined;
  const failure = block === undefined || block.every((byte) => byte === 0)
    ? yield* writeZeroes(disk, range, (task.cdb[1] & WriteSame.UNMAP) !== 0)
    : yield* writePattern(disk, range, block);
  if (failure !== undefined) return failure;
  return writesThrough(disk, false) ? yield* flush(disk) : undefined;
}

/** Blocks that are unmapped by WRITE SAME read as the block that was given, so only zeroes can be unmapped. */
function* writeZeroes(disk: DiskModel, { lba, blocks }: BlockRange, mayUnmap: boolean): Steps<Outcome> {
  const [offset, bytes] = [lba * disk.blockSize, blocks * disk.blockSize];
  return yield* access(disk, "write", lba, (done) => disk.drive.writeZeroes(offset, bytes, mayUnmap, done));
}

function* writePattern(disk: DiskModel, { lba, blocks }: BlockRange, block: Uint8Array): Steps<Outcome> {
  const lent = disk.buffers.take(blocks * disk.blockSize);
  const { buffer } = lent;
  try {
    for (let at = 0; at < buffer.length; at += block.length) buffer.set(block.subarray(0, buffer.length - at), at);
    const most = Math.floor(buffer.length / disk.blockSize);
    for (let done = 0; done < blocks; done += most) {
      const chunk = buffer.subarray(0, Math.min(most, blocks - done) * disk.blockSize);
      const offset = (lba + done) * disk.blockSize;
      const failure = yield* access(
        disk,
        "write",
        lba + done,
        (ready) => disk.drive.write(offset, chunk, false, ready),
      );
      if (failure !== undefined) return failure;
    }
    return undefined;
  } finally {
    disk.buffers.give(lent);
  }
}
