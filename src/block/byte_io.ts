/**
 * Moving bytes between memory and a file, at any offset and in any number.
 *
 * @module
 */
import type { Completion, Wait } from "./coroutine.ts";

/** Positioned transfers. They do not look at the file's size, nor keep count of it. */
export interface ByteIo {
  /** See `HostFile.alignment`. */
  readonly alignment: number;
  /** Fills `into`; what lies beyond the end of the file reads as zeroes. */
  read(offset: number, into: Uint8Array, done: Completion): void;
  /** Writes all of `from`. */
  write(offset: number, from: Uint8Array, done: Completion): void;
  /** Changes a range by other means than {@linkcode write}, in no conflict with writes that touch the same blocks. */
  change(offset: number, length: number, start: Wait, done: Completion): void;
}
