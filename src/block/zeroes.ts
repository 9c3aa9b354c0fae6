/**
 * Finds the parts of a buffer that are worth writing.
 *
 * @module
 */

/** A part of a buffer, in bytes. */
export interface Run {
  readonly start: number;
  readonly end: number;
  /** Whether {@linkcode runs} was told that this part can be left out. */
  readonly same: boolean;
}

/** Whether bytes are all zero. The view begins at a multiple of four of its buffer and is a multiple of four long, or is short. */
export function isZero(bytes: Uint8Array): boolean {
  if (bytes.byteOffset % 4 !== 0 || bytes.length % 4 !== 0) return bytes.every((byte) => byte === 0);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let at = 0;
  for (; at + 8 <= words.length; at += 8) {
    const bits = words[at] | words[at + 1] | words[at + 2] | words[at + 3] | words[at + 4] | words[at + 5] |
      words[at + 6] | words[at + 7];
    if (bits !== 0) return false;
  }
  for (; at < words.length; at++) if (words[at] !== 0) return false;
  return true;
}

/** Whether two buffers of one length hold the same bytes; as {@linkcode isZero} is about alignment. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if ((a.byteOffset | b.byteOffset | a.length) % 4 !== 0) return a.every((byte, at) => byte === b[at]);
  const [x, y] = [a, b].map((bytes) => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
  for (let at = 0; at < x.length; at++) if (x[at] !== y[at]) return false;
  return true;
}

/**
 * Splits a range into runs of granules of which `same` says the same.
 *
 * @param length Bytes; the last granule may be short.
 * @param granule Bytes.
 */
export function* runs(length: number, granule: number, same: (start: number, end: number) => boolean): Generator<Run> {
  let start = 0;
  let current: boolean | undefined;
  for (let at = 0; at < length; at += granule) {
    const next = same(at, Math.min(at + granule, length));
    if (current !== undefined && next !== current) {
      yield { start, end: at, same: current };
      start = at;
    }
    current = next;
  }
  if (current !== undefined) yield { start, end: length, same: current };
}
