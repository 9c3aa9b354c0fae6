/**
 * Finite State Entropy codes of Zstandard (RFC 8878, section 4.1).
 *
 * @module
 */
import { CorruptStreamError } from "./corrupt_stream_error.ts";

/** A decoding table, by state. */
export interface FseTable {
  /** The states are those below 2^accuracyLog. */
  readonly accuracyLog: number;
  readonly symbols: Uint8Array;
  /** How many bits lead from a state to the next one, and what is added to them. */
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** The distribution of symbols, and how many bytes described it. */
export interface Distribution {
  readonly accuracyLog: number;
  /** By symbol: how many states it has; -1 for "less than one", which is one state with all of its bits renewed. */
  readonly counts: Int16Array;
  readonly size: number;
}

/** The smallest accuracy that a description can have. */
const LEAST_ACCURACY = 5;

/** A table with one state and one symbol, which takes no bits: the mode RLE. */
export function constantTable(symbol: number): FseTable {
  return { accuracyLog: 0, symbols: Uint8Array.of(symbol), bits: Uint8Array.of(0), bases: Uint16Array.of(0) };
}

/** Reads bits from the first on. */
class ForwardBits {
  #at = 0;

  constructor(readonly data: Uint8Array) {}

  /** The next `count` bits, at most 16, without taking them. Those behind the last read as zeroes. */
  peek(count: number): number {
    const byte = this.#at >> 3;
    const three = this.data[byte] | this.data[byte + 1] << 8 | this.data[byte + 2] << 16;
    return three >> (this.#at & 7) & (1 << count) - 1;
  }

  skip(count: number): void {
    this.#at += count;
    if (this.#at > this.data.length * 8) throw new CorruptStreamError("the description of a table ends too early");
  }

  take(count: number): number {
    const value = this.peek(count);
    this.skip(count);
    return value;
  }

  /** Whole bytes that were begun. */
  get size(): number {
    return this.#at + 7 >> 3;
  }
}

/**
 * Reads the description of a table (section 4.1.1).
 *
 * @param symbols How many symbols the alphabet has.
 * @param longest The highest accuracy that is allowed, at most 9.
 */
export function readDistribution(data: Uint8Array, symbols: number, longest: number): Distribution {
  const bits = new ForwardBits(data);
  const accuracyLog = bits.take(4) + LEAST_ACCURACY;
  if (accuracyLog > longest) throw new CorruptStreamError(`a table has an accuracy of ${accuracyLog} bits`);
  const counts = new Int16Array(symbols);
  let left = 1 << accuracyLog;
  let symbol = 0;
  while (left > 0) {
    if (symbol >= symbols) throw new CorruptStreamError("a table has more symbols than there are");
    const count = takeCount(bits, left);
    counts[symbol++] = count;
    left -= Math.abs(count);
    // A symbol without states is followed by the number of those after it that have none, either; 3 means: and so on.
    for (let more = count === 0 ? 3 : 0; more === 3;) {
      more = bits.take(2);
      symbol += more;
    }
  }
  return { accuracyLog, counts, size: bits.size };
}

/** A number from -1 to `left`; small ones are a bit shorter. */
function takeCount(bits: ForwardBits, left: number): number {
  const width = 32 - Math.clz32(left + 1);
  const short = (1 << width) - 1 - (left + 1);
  const low = bits.peek(width - 1);
  if (low < short) {
    bits.skip(width - 1);
    return low - 1;
  }
  const value = bits.take(width);
  return (value >= 1 << width - 1 ? value - short : value) - 1;
}

/** Spreads the symbols over the states (section 4.1.1). */
export function fseTable({ accuracyLog, counts }: Pick<Distribution, "accuracyLog" | "counts">): FseTable {
  const size = 1 << accuracyLog;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === -1) symbols[--high] = symbol;
    next[symbol] = Math.abs(counts[symbol]);
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let state = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let i = 0; i < counts[symbol]; i++) {
      symbols[state] = symbol;
      do state = state + step & size - 1; while (state >= high);
    }
  }
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const value = next[symbols[state]]++;
    bits[state] = accuracyLog - (31 - Math.clz32(value));
    bases[state] = (value << bits[state]) - size;
  }
  return { accuracyLog, symbols, bits, bases };
}
