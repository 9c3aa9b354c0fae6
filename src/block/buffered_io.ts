/**
 * Transfers through the host's page cache.
 *
 * What the cache holds is moved by a system call at once: that costs less than a request to an engine, and a turn of the loop less.
 *
 * @module
 */
import { moveNow } from "../ffi/blocking_io.ts";
import { Errno } from "../ffi/errno.ts";
import { lastingAddress } from "../ffi/memory.ts";
import type { ByteIo } from "./byte_io.ts";
import type { Completion, Wait } from "./coroutine.ts";
import type { FileIo } from "./file_io.ts";

/** After how many requests at most it is tried again whether the cache has what is asked for. */
const LONGEST_PAUSE = 64;

/** Whether an attempt to move bytes without waiting is worth its system call. */
class Attempts {
  #pause = 0;
  #length = 1;

  /** Whether to try this time. */
  get due(): boolean {
    return this.#pause === 0 || --this.#pause === 0;
  }

  /** Takes account of what an attempt came to. */
  note(result: number): void {
    if (result >= 0) {
      this.#length = 1;
    } else if (result === -Errno.EAGAIN) {
      this.#length = Math.min(2 * this.#length, LONGEST_PAUSE);
      this.#pause = this.#length;
    } else if (result === -Errno.EOPNOTSUPP || result === -Errno.ENOSYS) {
      this.#pause = Infinity;
    }
  }
}

/** Transfers through the page cache. */
export class BufferedIo implements ByteIo {
  readonly alignment = 1;
  readonly #io: FileIo;
  readonly #size: () => number;
  readonly #reads = new Attempts();
  readonly #writes = new Attempts();

  /** @param size The size that the file has now, counting the writes that have completed. */
  constructor(io: FileIo, size: () => number) {
    this.#io = io;
    this.#size = size;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    const moved = this.#tryNow(this.#reads, false, offset, into);
    if (moved === into.length) return done();
    this.#io.read(offset + moved, moved === 0 ? into : into.subarray(moved), 1, this.#size(), done);
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    const moved = this.#tryNow(this.#writes, true, offset, from);
    if (moved === from.length) return done();
    this.#io.move(true, offset + moved, moved === 0 ? from : from.subarray(moved), 1, done);
  }

  change(_offset: number, _length: number, start: Wait, done: Completion): void {
    start(done);
  }

  /** @returns how many bytes were moved; errors come again from the engine. */
  #tryNow(attempts: Attempts, write: boolean, offset: number, buffer: Uint8Array): number {
    if (!attempts.due) return 0;
    const result = moveNow(write, this.#io.fd, offset, lastingAddress(buffer), buffer.length);
    attempts.note(result);
    return Math.max(0, result);
  }
}
