/**
 * READ, WRITE, VERIFY and WRITE AND VERIFY (SBC-3, chapter 5), chunk by chunk.
 *
 * @module
 */
import { type BlockRange, blockRange } from "./cdb.ts";
import { access, checkRange, type DiskModel, flush, Limit, writesThrough } from "./disk_model.ts";
import { invalidCdbField, SenseCode } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";

/** Byte 1 of the longer CDBs. */
const FUA = 0x08;

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
  const buffer = disk.buffers.take(length);
  try {
    return yield* body(buffer);
  } finally {
    disk.buffers.give(buffer);
  }
}

/** The fields that all these commands have: protection (not supported), the range, its length. */
function checkTransfer(disk: DiskModel, cdb: Uint8Array, range: BlockRange): Outcome {
  if (isLong(cdb) && (cdb[1] & 0xe0) !== 0) return invalidCdbField(1, 7); // RDPROTECT, WRPROTECT, VRPROTECT
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

function* readPart(disk: DiskModel, { lba, offset }: Part, into: Uint8Array): Steps<Outcome> {
  into.fill(0); // what the initiator gets of a read whose error is ignored
  return yield* access(disk, "read", lba, (done) => disk.drive.read(offset, into, done));
}

/** READ (6), (10), (12), (16). */
export function read(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const range = blockRange(task.cdb);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  // FUA: what is read is what the medium has, so a dirty cache goes there first.
  const flushFirst = isLong(task.cdb) && (task.cdb[1] & FUA) !== 0 && disk.drive.writeCache && !disk.drive.readOnly;
  return readBlocks(disk, task, range, flushFirst);
}

function* readBlocks(disk: DiskModel, task: Task, range: BlockRange, flushFirst: boolean): Steps<Outcome> {
  const length = range.blocks * disk.blockSize;
  task.expect("in", length);
  return yield* withBuffer(disk, length, function* (buffer) {
    const unflushed = flushFirst ? yield* flush(disk) : undefined;
    if (unflushed !== undefined) return unflushed;
    for (const part of parts(disk, range, buffer)) {
      const failure = yield* readPart(disk, part, part.chunk);
      if (failure !== undefined) return failure;
      yield part.chunk;
    }
    return undefined;
  });
}

/** WRITE (6), (10), (12), (16). */
export function write(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const range = blockRange(task.cdb);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  const fua = isLong(task.cdb) && (task.cdb[1] & FUA) !== 0;
  return writeBlocks(disk, task, range, writesThrough(disk, fua));
}

function* writeBlocks(disk: DiskModel, task: Task, range: BlockRange, through: boolean): Steps<Outcome> {
  const length = range.blocks * disk.blockSize;
  task.expect("out", length);
  return yield* withBuffer(disk, length, function* (buffer) {
    // One flush at the end is cheaper than FUA on each of several chunks.
    const single = length <= buffer.length;
    for (const part of parts(disk, range, buffer)) {
      yield part.chunk;
      const failure = yield* writePart(disk, part, through && single);
      if (failure !== undefined) return failure;
    }
    return through && !single ? yield* flush(disk) : undefined;
  });
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
  if (check === ByteCheck.DATA_OUT) return verifyData(disk, task, range);
  if (check === ByteCheck.ONE_BLOCK) return verifyBlock(disk, task, range);
  return verifyMedium(disk, range);
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

/** Compares the range with as many blocks from the initiator. Each half of the buffer holds one side. */
function* verifyData(disk: DiskModel, task: Task, range: BlockRange): Steps<Outcome> {
  const length = range.blocks * disk.blockSize;
  task.expect("out", length);
  return yield* withBuffer(disk, 2 * length, function* (buffer) {
    const half = buffer.length / 2;
    for (const part of parts(disk, range, buffer.subarray(0, half))) {
      yield part.chunk;
      const failure = yield* comparePart(disk, part, buffer.subarray(half));
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
  return equalBytes(part.chunk, onMedium) ? undefined : SenseCode.MISCOMPARE_DURING_VERIFY;
}

/** Compares every block of the range with the same one from the initiator. */
function* verifyBlock(disk: DiskModel, task: Task, range: BlockRange): Steps<Outcome> {
  const expected = yield* task.receive(disk.blockSize);
  return yield* withBuffer(disk, range.blocks * disk.blockSize, function* (buffer) {
    for (const part of parts(disk, range, buffer)) {
      const failure = yield* readPart(disk, part, part.chunk);
      if (failure !== undefined) return failure;
      for (let at = 0; at < part.chunk.length; at += disk.blockSize) {
        if (!equalBytes(part.chunk.subarray(at, at + disk.blockSize), expected)) {
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
  return writeAndCompare(disk, task, range);
}

/** Writes to stable storage and reads back. Comparing, which only BYTCHK asks for, costs nothing beside the read. */
function* writeAndCompare(disk: DiskModel, task: Task, range: BlockRange): Steps<Outcome> {
  const length = range.blocks * disk.blockSize;
  task.expect("out", length);
  return yield* withBuffer(disk, 2 * length, function* (buffer) {
    const half = buffer.length / 2;
    for (const part of parts(disk, range, buffer.subarray(0, half))) {
      yield part.chunk;
      const failure = (yield* writePart(disk, part, true)) ?? (yield* comparePart(disk, part, buffer.subarray(half)));
      if (failure !== undefined) return failure;
    }
    return undefined;
  });
}

/** Byte equality, by words: both are whole blocks of 512 bytes and more, at aligned offsets of their buffers. */
function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  const left = new Int32Array(a.buffer, a.byteOffset, a.length >> 2);
  const right = new Int32Array(b.buffer, b.byteOffset, b.length >> 2);
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}
