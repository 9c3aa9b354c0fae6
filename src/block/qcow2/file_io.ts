/**
 * Whole reads and writes of the file that a qcow2 image lies in, for work that goes step by step.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";

/** Bytes written at once where tables and zeroes are written in a row. */
export const CHUNK = 1024 * 1024;

/** Reads `length` bytes; what lies beyond the end of the file is zero. */
export function* readBytes(file: HostFile, offset: number, length: number): Coroutine<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  if (length > 0) yield* waitFor((done) => file.read(offset, bytes, done));
  return bytes;
}

/** Writes all of `bytes`. */
export function* writeBytes(file: HostFile, offset: number, bytes: Uint8Array): Coroutine<void> {
  if (bytes.length > 0) yield* waitFor((done) => file.write(offset, bytes, done));
}

/** Returns when all that was written is on stable storage. */
export function* syncFile(file: HostFile): Coroutine<void> {
  yield* waitFor((done) => file.sync(done));
}

/** Sets the size of a regular file; a block device has the size it has. */
export function* resizeFile(file: HostFile, size: number): Coroutine<void> {
  if (file.kind === "file" && file.size !== size) yield* waitFor((done) => file.truncate(size, done));
}

/**
 * Writes a table of 64-bit big-endian entries in pieces of {@linkcode CHUNK} bytes.
 *
 * @param entries How many there are.
 * @param fill Sets the entry `index`, which is zero so far, at byte `at` of `view`.
 * @param entrySize Bytes per entry: 8, or 16 for extended L2 entries.
 */
export function* writeTable(
  file: HostFile,
  offset: number,
  entries: number,
  fill: (view: DataView, at: number, index: number) => void,
  entrySize = 8,
): Coroutine<void> {
  const perChunk = CHUNK / entrySize;
  for (let first = 0; first < entries; first += perChunk) {
    const count = Math.min(perChunk, entries - first);
    const bytes = new Uint8Array(count * entrySize);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) fill(view, i * entrySize, first + i);
    yield* writeBytes(file, offset + first * entrySize, bytes);
  }
}
