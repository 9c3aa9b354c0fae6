/**
 * Having the host forget or zero a range: by its own means, as far as it has any, or else by writing.
 *
 * @module
 */
import { type FileOperation, FileOperation as Operation } from "../ffi/blocking_io.ts";
import { Errno } from "../ffi/errno.ts";
import { Fallocate } from "../ffi/file.ts";
import { alignedBuffer } from "./aligned_buffers.ts";
import type { ByteIo } from "./byte_io.ts";
import { type Coroutine, type Wait, waitFor, waitForAll } from "./coroutine.ts";
import type { FileIo } from "./file_io.ts";
import type { HostFile } from "./host_file.ts";

/** How many zeroes a write has, and how many writes there are at once. */
const ZERO_STEP = 2 ** 18;
const ZERO_WRITES = 4;

/** Answers of hosts that do not have an operation at all. */
const NEVER: readonly number[] = [Errno.EOPNOTSUPP, Errno.ENOSYS, Errno.ENOTTY];

let zeroes: Uint8Array | undefined;

/** A way to ask the host, which is not taken again once the host has said that it does not know it. */
interface Means {
  readonly operation: FileOperation;
  readonly mode?: number;
  unknown: boolean;
}

const allocate = (mode: number): Means => ({
  operation: Operation.ALLOCATE,
  mode: mode | Fallocate.KEEP_SIZE,
  unknown: false,
});
const request = (operation: FileOperation): Means => ({ operation, unknown: false });

/** What a {@linkcode Zeroing} works on. */
export interface ZeroingTarget {
  readonly kind: HostFile["kind"];
  /** What a device's ranges are multiples of: its sector size; 1 for a file. */
  readonly granularity: number;
  readonly io: FileIo;
  readonly bytes: ByteIo;
}

/** Discards and zeroes ranges of one file or device. */
export class Zeroing {
  readonly #target: ZeroingTarget;
  readonly #discard: readonly Means[];
  readonly #zero: readonly Means[];
  readonly #unmap: readonly Means[];

  constructor(target: ZeroingTarget) {
    this.#target = target;
    const punch = allocate(Fallocate.PUNCH_HOLE);
    // A block device knows both modes (Linux 4.9, block/fops.c); for one it has a request besides.
    const zero = [allocate(Fallocate.ZERO_RANGE)];
    if (target.kind === "device") zero.push(request(Operation.ZERO_OUT));
    this.#discard = [target.kind === "device" ? request(Operation.DISCARD) : punch];
    this.#zero = zero;
    this.#unmap = [punch, ...zero];
  }

  /** See `HostFile.discard`. */
  *discard(offset: number, length: number): Coroutine<void> {
    const { start, end } = this.#inner(offset, offset + length);
    if (start < end) yield* this.#byHost(this.#discard, start, end - start);
  }

  /** See `HostFile.writeZeroes`. */
  *writeZeroes(offset: number, length: number, unmap: boolean): Coroutine<void> {
    const rangeEnd = offset + length;
    const { start, end } = this.#inner(offset, rangeEnd);
    const means = unmap ? this.#unmap : this.#zero;
    if (start >= end || !(yield* this.#byHost(means, start, end - start))) {
      return yield* this.#byWriting(offset, rangeEnd);
    }
    yield* this.#byWriting(offset, start);
    yield* this.#byWriting(end, rangeEnd);
  }

  /** The part of a range that the host has means for. */
  #inner(start: number, end: number): { start: number; end: number } {
    const { granularity } = this.#target;
    return { start: Math.ceil(start / granularity) * granularity, end: Math.floor(end / granularity) * granularity };
  }

  /** @returns whether the host could do it, by any of the means. */
  *#byHost(means: readonly Means[], offset: number, length: number): Coroutine<boolean> {
    for (const one of means) {
      if (one.unknown) continue;
      const result = yield* this.#ask(one, offset, length);
      if (result >= 0) return true;
      one.unknown = NEVER.includes(-result);
      // EINVAL: not this range. A device for which discarding is not for everyone says EPERM or EACCES.
      const declined = one.unknown || [Errno.EINVAL, Errno.EPERM, Errno.EACCES].some((errno) => errno === -result);
      if (!declined) throw this.#target.io.failure(one.operation, result);
    }
    return false;
  }

  *#ask({ operation, mode }: Means, offset: number, length: number): Coroutine<number> {
    const { io, bytes } = this.#target;
    let result = 0;
    const start: Wait = (done) =>
      io.call({ operation, mode, offset, length }, (value) => {
        result = value;
        done();
      });
    yield* waitFor((done) => bytes.change(offset, length, start, done));
    return result;
  }

  *#byWriting(start: number, end: number): Coroutine<void> {
    zeroes ??= alignedBuffer(ZERO_STEP);
    for (let at = start; at < end;) {
      const writes: Wait[] = [];
      for (; at < end && writes.length < ZERO_WRITES; at += ZERO_STEP) {
        const offset = at;
        const part = zeroes.subarray(0, Math.min(ZERO_STEP, end - at));
        writes.push((done) => this.#target.bytes.write(offset, part, done));
      }
      yield* waitForAll(writes);
    }
  }
}
