/**
 * The bit streams of Zstandard that are read from their end (RFC 8878, sections 4.1 and 4.2).
 *
 * @module
 */
import { CorruptStreamError } from "./corrupt_stream_error.ts";

/** Bytes behind the data that {@linkcode BackwardBits} may load, and that are of no account. */
export const PADDING = 8;

/** Reads a stream of bits from the last to the first. */
export class BackwardBits {
  readonly #view: DataView;
  readonly #start: number;
  /** Bits that are left; less than none when more were taken than there are. */
  left: number;

  /**
   * @param view The data, followed by at least {@linkcode PADDING} bytes.
   * @param start,end Where the stream lies. The highest bit that is set in its last byte marks its end.
   * @throws {CorruptStreamError} when there is no such bit.
   */
  constructor(view: DataView, start: number, end: number) {
    const last = end > start ? view.getUint8(end - 1) : 0;
    if (last === 0) throw new CorruptStreamError("a bit stream has no end mark");
    this.#view = view;
    this.#start = start;
    this.left = (end - 1 - start) * 8 + 31 - Math.clz32(last);
  }

  /** The next `count` bits, at most 24, without taking them. Those before the first read as zeroes. */
  peek(count: number): number {
    const at = this.left - count;
    if (at >= 0) return this.#view.getUint32(this.#start + (at >>> 3), true) >>> (at & 7) & (1 << count) - 1;
    if (this.left <= 0) return 0;
    return (this.#view.getUint32(this.#start, true) & (1 << this.left) - 1) << -at;
  }

  /** Takes `count` bits, at most 24. */
  take(count: number): number {
    const value = this.peek(count);
    this.left -= count;
    return value;
  }
}
