/**
 * VERIFY and WRITE AND VERIFY (SBC-3, sections 5.29 to 5.31 and 5.37 to 5.39), chunk by chunk.
 *
 * @module
 */
import { isEqual } from "../../block/zeroes.ts";
import { type BlockRange, blockRange } from "./cdb.ts";
import { access, type DiskModel, flush } from "./disk_model.ts";
import { invalidCdbField, SenseCode } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";
import { checkTransfer } from "./transfer_cdb.ts";

/** BYTCHK: what VERIFY compares the medium with (SBC-3, section 5.29). */
const ByteCheck = { MEDIUM_ONLY: 0, DATA_OUT: 1, ONE_BLOCK: 3 } as const;

/** The part of a transfer that is in memory. */
interface Part {
  readonly lba: number;
  /** Offset in the image. */
  readonly offset: number;
  readonly chunk: Uint8Array;
}

/** Cuts a range into parts that fit `buffer`, which all of them share. */
function* parts(disk: DiskModel, { lba, blocks }: BlockRange, buffer: Uint8Array): Generator<Part> {
  const most = Math.floor(buffer.length / disk.blockSize);
  for (let done = 0; done < blocks; done += most) {
    const length = Math.min(most, blocks - done) * disk.blockSize;
    yield { lba: lba + done, offset: (lba + done) * disk.blockSize, chunk: buffer.subarray(0, length) };
  }
}

/** Lends a buffer to `body` for as long as it runs. */
function* withBuffer(disk: DiskModel, length: number, body: (buffer: Uint8Array) => Steps<Outcome>): Steps<Outcome> {
  const chunk = disk.buffers.take(length);
  try {
    return yield* body(chunk.buffer);
  } finally {
    disk.buffers.give(chunk);
  }
}

function* readPart(disk: DiskModel, { lba, offset }: Part, into: Uint8Array): Steps<Outcome> {
  into.fill(0); // what the initiator gets of a read whose error is ignored
  return yield* access(disk, "read", lba, (done) => disk.drive.read(offset, into, done));
}

function* writePart(disk: DiskModel, { lba, offset, chunk }: Part, fua: boolean): Steps<Outcome> {
  return yield* access(disk, "write", lba, (done) => disk.drive.write(offset, chunk, fua, done));
}

/** VERIFY (10), (12), (16) (SBC-3, sections 5.29 to 5.31). */
export function verify(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const range = blockRange(task.cdb);
  const check = (task.cdb[1] >> 1) & 3;
  if (check === 2) return invalidCdbField(1, 2);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  return verifyBlocks(disk, task, range, check);
}

/** What is verified is what the medium has, so a dirty cache goes there first (SBC-3, section 4.15). */
function* verifyBlocks(disk: DiskModel, task: Task, range: BlockRange, check: number): Steps<Outcome> {
  const unflushed = disk.drive.writeCache && !disk.drive.readOnly ? yield* flush(disk) : undefined;
  if (unflushed !== undefined) return unflushed;
  if (check === ByteCheck.DATA_OUT) return yield* verifyData(disk, task, range, false);
  if (check === ByteCheck.ONE_BLOCK) return yield* verifyBlock(disk, task, range);
  return yield* verifyMedium(disk, range);
}

/** Reads the range and drops what it reads. */
function* verifyMedium(disk: DiskModel, range: BlockRange): Steps<Outcome> {
  return yield* withBuffer(disk, range.blocks * disk.blockSize, function* (buffer) {
    for (const part of parts(disk, range, buffer)) {
      const failure = yield* readPart(disk, part, part.chunk);
      if (failure !== undefined) return failure;
    }
    return undefined;
  });
}

/**
 * Compares the range with as many blocks from the initiator, which are written to stable storage before, if asked for. Each half of the
 * buffer holds one side.
 */
function* verifyData(disk: DiskModel, task: Task, range: BlockRange, write: boolean): Steps<Outcome> {
  const length = range.blocks * disk.blockSize;
  task.expect("out", length);
  return yield* withBuffer(disk, 2 * length, function* (buffer) {
    const half = buffer.length / 2;
    for (const part of parts(disk, range, buffer.subarray(0, half))) {
      yield part.chunk;
      const unwritten = write ? yield* writePart(disk, part, true) : undefined;
      const failure = unwritten ?? (yield* comparePart(disk, part, buffer.subarray(half)));
      if (failure !== undefined) return failure;
    }
    return undefined;
  });
}

/** Compares a part with the medium, which is read into `scratch`. */
function* comparePart(disk: DiskModel, part: Part, scratch: Uint8Array): Steps<Outcome> {
  const onMedium = scratch.subarray(0, part.chunk.length);
  const failure = yield* readPart(disk, part, onMedium);
  if (failure !== undefined) return failure;
  return isEqual(part.chunk, onMedium) ? undefined : SenseCode.MISCOMPARE_DURING_VERIFY;
}

/** Compares every block of the range with the same one from the initiator. */
function* verifyBlock(disk: DiskModel, task: Task, range: BlockRange): Steps<Outcome> {
  const expected = yield* task.receive(disk.blockSize);
  return yield* withBuffer(disk, range.blocks * disk.blockSize, function* (buffer) {
    for (const part of parts(disk, range, buffer)) {
      const failure = yield* readPart(disk, part, part.chunk);
      if (failure !== undefined) return failure;
      for (let at = 0; at < part.chunk.length; at += disk.blockSize) {
        if (!isEqual(part.chunk.subarray(at, at + disk.blockSize), expected)) {
          return SenseCode.MISCOMPARE_DURING_VERIFY;
        }
      }
    }
    return undefined;
  });
}

/** WRITE AND VERIFY (10), (12), (16): SBC-3, sections 5.37 to 5.39. */
export function writeAndVerify(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const range = blockRange(task.cdb);
  const check = (task.cdb[1] >> 1) & 3;
  if (check > ByteCheck.DATA_OUT) return invalidCdbField(1, 2);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  // Comparing, which only BYTCHK asks for, costs nothing beside the read.
  return verifyData(disk, task, range, true);
}
