/**
 * What an image format needs of the file or block device that it lies in.
 *
 * Requests complete through a callback, at once or later from the loop, in any order; two that overlap are in no order unless
 * one has completed before the other starts. The caller leaves buffers alone until then. Faults of the host are given to the
 * callback, as a `SyscallError` with the code of the system call: ENOSPC, EIO.
 *
 * @module
 */
import type { Completion } from "./coroutine.ts";
import type { Extent } from "./block_device.ts";

/** An open file. Offsets and lengths are bytes, of any alignment. */
export interface HostFile {
  /** For messages: the path, or the descriptor. */
  readonly name: string;
  readonly kind: "file" | "device";
  readonly readOnly: boolean;
  /** Bytes there are now; a regular file grows by writes and {@linkcode truncate}, once they have completed. */
  readonly size: number;
  /** Requests whose offset, length and buffer address are multiples of this are carried out without copying. */
  readonly alignment: number;
  /** Reads; what lies beyond the end reads as zeroes. */
  read(offset: number, into: Uint8Array, done: Completion): void;
  /** Writes all of `from`. */
  write(offset: number, from: Uint8Array, done: Completion): void;
  /** What was written and completed before is on stable storage before `done`. Nothing happens with `cache=unsafe`. */
  sync(done: Completion): void;
  /**
   * Gives the range back to the host, if the host can do that. A file then reads as zeroes there, a device as it likes; or nothing has changed.
   * Advice: never fails for want of support.
   */
  discard(offset: number, length: number, done: Completion): void;
  /**
   * The range reads as zeroes afterwards, by the host's own means or by writing; with `unmap` it may give its space back. What lies beyond
   * the end does so anyway: the file does not grow.
   */
  writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void;
  /** Says what the first part of a range holds, as far as the host knows without reading it. A file that cannot tell has no such method. */
  status?(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void;
  /** Sets the size of a regular file; what is new reads as zeroes. */
  truncate(size: number, done: Completion): void;
  /** Closes the descriptor. Every request has completed before. Calling it again does nothing. */
  close(): void;
}
