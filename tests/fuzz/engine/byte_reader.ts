/**
 * Takes an input apart: a target reads from it what to do next, and with what.
 *
 * Any string of bytes is an input, so nothing here fails: behind the end there are zeroes. Numbers are little-endian.
 *
 * @module
 */

/** Reads numbers and runs of bytes, one after the other. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether there is nothing left. */
  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  u8(): number {
    return this.done ? 0 : this.#bytes[this.#at++];
  }

  u16(): number {
    return this.u8() | this.u8() << 8;
  }

  u32(): number {
    return (this.u16() | this.u16() << 16) >>> 0;
  }

  /** 64 bits as a number, which is rounded above 2^53. */
  u64(): number {
    return this.u32() + this.u32() * 2 ** 32;
  }

  /** One of these, by the next byte. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.u8() % choices.length];
  }

  /** As many bytes as there are, up to `most`: a view of the input. */
  bytes(most: number): Uint8Array {
    const start = this.#at;
    this.#at = Math.min(this.#bytes.length, start + most);
    return this.#bytes.subarray(start, this.#at);
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes(Infinity);
  }
}
