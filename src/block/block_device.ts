/**
 * What a disk model needs of the image behind it. Raw files, block devices and image formats all look like this.
 *
 * Requests complete through a callback, at once or later from the device loop, in any order. The caller leaves the buffers
 * alone until then. A request that does not lie inside the device is a defect of the caller and throws a RangeError; a fault
 * of the host, or of the image, is given to the callback.
 *
 * @module
 */
import type { Completion } from "./coroutine.ts";

/** Ends a request; `error` is absent on success. */
export type BlockCompletion = Completion;

/** What a part of an image holds. */
export interface Extent {
  /** Bytes from where was asked; at least 1, at most what was asked about. More of the same may follow. */
  readonly length: number;
  /** Whether the part reads as zeroes. Data that happen to be zero need not be told from other data. */
  readonly zero: boolean;
}

/** An open image. Offsets and lengths are bytes, of any alignment. */
export interface BlockDevice {
  /** Size in bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Whether written data may sit in a volatile cache until {@linkcode flush}: false for `cache=writethrough`. */
  readonly writeCache: boolean;
  /** Discards of less than so many bytes, or not aligned to them, give nothing back; left out where any do. */
  readonly discardGranularity?: number;
  read(offset: number, into: Uint8Array, done: BlockCompletion): void;
  /** With `fua`, the data are on stable storage before `done`. */
  write(offset: number, from: Uint8Array, fua: boolean, done: BlockCompletion): void;
  /** Everything written and completed before is on stable storage before `done`. */
  flush(done: BlockCompletion): void;
  /** The range's contents are not needed any more. An image that keeps its space succeeds without effect. */
  discard(offset: number, length: number, done: BlockCompletion): void;
  /** The range reads as zeroes afterwards; with `unmap` it may give its space back. */
  writeZeroes(offset: number, length: number, unmap: boolean, done: BlockCompletion): void;
  /**
   * Writes one unit of {@linkcode discardGranularity}, or the last, shorter one, compressed. A format without compression has no such method.
   */
  writeCompressed?(offset: number, from: Uint8Array, done: BlockCompletion): void;
  /** Says what the first part of a range holds, without reading data. A device that cannot tell has no such method. */
  status?(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void;
  /**
   * Writes back what the image holds in memory and closes it, also when that fails. The owner has seen every request complete.
   * Calling it again does nothing.
   */
  close(done: BlockCompletion): void;
}
