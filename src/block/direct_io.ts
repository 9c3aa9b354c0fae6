/**
 * Transfers around the host's page cache, on a descriptor with O_DIRECT.
 *
 * The kernel wants offset, length and address aligned (open(2), "O_DIRECT"). A transfer that is not passes through an aligned buffer; for a write
 * that begins or ends within a block, the rest of the block is read first and written with it. Nothing else may change that block meanwhile,
 * so each change of the file holds its range: one that reads before it writes alone, the others together.
 *
 * @module
 */
import { FileOperation } from "../ffi/blocking_io.ts";
import type { DirectAlignment } from "../ffi/direct_io.ts";
import { lastingAddress } from "../ffi/memory.ts";
import { type BouncePool, MAX_BOUNCE } from "./aligned_buffers.ts";
import type { ByteIo } from "./byte_io.ts";
import { type Completion, type Coroutine, type Wait, waitFor } from "./coroutine.ts";
import type { FileIo } from "./file_io.ts";
import { type RangeHold, RangeLock } from "./range_lock.ts";

/** What {@linkcode DirectIo} needs. */
export interface DirectIoOptions {
  readonly io: FileIo;
  readonly alignment: DirectAlignment;
  readonly buffers: BouncePool;
  /** The size that the file has now, counting the writes that have completed. */
  readonly size: () => number;
}

/** Transfers around the page cache. */
export class DirectIo implements ByteIo {
  readonly alignment: number;
  readonly #io: FileIo;
  readonly #block: number;
  readonly #memory: number;
  readonly #buffers: BouncePool;
  readonly #size: () => number;
  readonly #changes = new RangeLock();

  constructor({ io, alignment, buffers, size }: DirectIoOptions) {
    this.#io = io;
    this.#block = alignment.offset;
    this.#memory = alignment.memory;
    this.alignment = Math.max(alignment.offset, alignment.memory);
    this.#buffers = buffers;
    this.#size = size;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    if (!this.#isAligned(offset, into)) return this.#io.run(this.#readBounced(offset, into), done);
    this.#io.read(offset, into, this.#block, this.#size(), done);
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    const hold = this.#isAligned(offset, from)
      ? this.#changes.tryAcquire(offset, offset + from.length, false)
      : undefined;
    if (hold === undefined) return this.#io.run(this.#writeSlowly(offset, from), done);
    this.#io.move(true, offset, from, this.#block, (error) => {
      this.#changes.release(hold);
      done(error);
    });
  }

  change(offset: number, length: number, start: Wait, done: Completion): void {
    this.#io.run(this.#holding(offset, offset + length, false, () => waitFor(start)), done);
  }

  #isAligned(offset: number, buffer: Uint8Array): boolean {
    return this.#isWhole(offset, buffer.length) && lastingAddress(buffer) % this.#memory === 0;
  }

  /** Whether a range consists of whole blocks. */
  #isWhole(offset: number, length: number): boolean {
    return offset % this.#block === 0 && length % this.#block === 0;
  }

  /** The beginning of the block that `offset` is in, and the end of the one that it ends. */
  #down(offset: number): number {
    return offset - offset % this.#block;
  }

  #up(offset: number): number {
    return this.#down(offset + this.#block - 1);
  }

  *#holding(start: number, end: number, alone: boolean, body: () => Coroutine<void>): Coroutine<void> {
    const hold: RangeHold = yield* this.#changes.acquire(start, end, alone);
    try {
      yield* body();
    } finally {
      this.#changes.release(hold);
    }
  }

  *#readBounced(offset: number, into: Uint8Array): Coroutine<void> {
    for (const part of parts(this.#down(offset), this.#up(offset + into.length))) {
      const bounce = yield* this.#buffers.take(part.end - part.start);
      try {
        const blocks = bounce.subarray(0, part.end - part.start);
        yield* this.#readBlocks(part.start, blocks);
        const from = Math.max(offset, part.start);
        const to = Math.min(offset + into.length, part.end);
        into.set(blocks.subarray(from - part.start, to - part.start), from - offset);
      } finally {
        this.#buffers.give(bounce);
      }
    }
  }

  /** A write that has to wait for others, or to be bounced. */
  *#writeSlowly(offset: number, from: Uint8Array): Coroutine<void> {
    const end = offset + from.length;
    if (this.#isAligned(offset, from)) {
      return yield* this.#holding(offset, end, false, () => this.#writeBlocks(offset, from));
    }
    if (this.#isWhole(offset, from.length)) {
      return yield* this.#holding(offset, end, false, () => this.#writeBounced(offset, from));
    }
    const whole = this.#up(end);
    // The last block of the file makes it longer for a moment. Nothing may lie behind it when it is cut off again.
    const atEnd = whole > end && whole > this.#size();
    yield* this.#holding(this.#down(offset), atEnd ? Infinity : whole, true, () => this.#writeAlone(offset, from));
  }

  *#writeAlone(offset: number, from: Uint8Array): Coroutine<void> {
    yield* this.#writeBounced(offset, from);
    const end = Math.max(this.#size(), offset + from.length);
    if (this.#up(offset + from.length) > end) yield* this.#cutOff(end);
  }

  *#writeBounced(offset: number, from: Uint8Array): Coroutine<void> {
    const end = offset + from.length;
    for (const part of parts(this.#down(offset), this.#up(end))) {
      const bounce = yield* this.#buffers.take(part.end - part.start);
      try {
        const blocks = bounce.subarray(0, part.end - part.start);
        yield* this.#readEdges(part, blocks, offset, end);
        const first = Math.max(offset, part.start);
        blocks.set(from.subarray(first - offset, Math.min(end, part.end) - offset), first - part.start);
        yield* this.#writeBlocks(part.start, blocks);
      } finally {
        this.#buffers.give(bounce);
      }
    }
  }

  /** Reads the first and the last block of a part, where a write from `offset` to `end` leaves something of them. */
  *#readEdges({ start, end: partEnd }: Part, blocks: Uint8Array, offset: number, end: number): Coroutine<void> {
    const head = offset > start;
    const tail = end < partEnd;
    const last = blocks.length - this.#block;
    if (head) yield* this.#readBlocks(start, blocks.subarray(0, this.#block));
    if (tail && !(head && last === 0)) yield* this.#readBlocks(start + last, blocks.subarray(last));
  }

  *#readBlocks(offset: number, blocks: Uint8Array): Coroutine<void> {
    yield* waitFor((done) => this.#io.read(offset, blocks, this.#block, this.#size(), done));
  }

  *#writeBlocks(offset: number, blocks: Uint8Array): Coroutine<void> {
    yield* waitFor((done) => this.#io.move(true, offset, blocks, this.#block, done));
  }

  *#cutOff(size: number): Coroutine<void> {
    const operation = FileOperation.TRUNCATE;
    yield* waitFor((done) =>
      this.#io.call({ operation, offset: size, length: 0 }, (result) => {
        done(result < 0 ? this.#io.failure(operation, result) : undefined);
      })
    );
  }
}

/** A range of whole blocks that fits a bounce buffer. */
interface Part {
  readonly start: number;
  readonly end: number;
}

function* parts(start: number, end: number): Generator<Part> {
  for (let at = start; at < end; at += MAX_BOUNCE) yield { start: at, end: Math.min(end, at + MAX_BOUNCE) };
}
