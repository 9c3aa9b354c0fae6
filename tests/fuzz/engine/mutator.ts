/**
 * Makes new inputs out of those that are there.
 *
 * @module
 */
import type { Target } from "./target.ts";

/** Gives a whole number from 0 to below a bound. */
export type Random = (below: number) => number;

/** Numbers at which code decides: ends of ranges, and their neighbours. */
const CORNERS = [
  0,
  1,
  2,
  3,
  4,
  7,
  8,
  15,
  16,
  31,
  32,
  63,
  64,
  100,
  127,
  128,
  255,
  256,
  511,
  512,
  1000,
  1024,
  4095,
  4096,
] as const;
const WIDE_CORNERS = [
  0x7fff,
  0x8000,
  0xffff,
  0x10000,
  0xffffff,
  0x7fffffff,
  0x80000000,
  0xfffffffe,
  0xffffffff,
] as const;

/** Most changes that are made to one input. */
const MOST_CHANGES = 8;
/** Longest run that is inserted, removed or copied at once. */
const LONGEST_RUN = 64;

type Change = (mutation: Mutation) => void;

/** An input on its way to another. */
class Mutation {
  bytes: number[];

  constructor(
    input: Uint8Array,
    readonly random: Random,
    readonly dictionary: readonly Uint8Array[],
  ) {
    this.bytes = Array.from(input);
  }

  /** A place in the input. */
  place(): number {
    return this.random(Math.max(1, this.bytes.length));
  }

  /** A length, mostly short. */
  run(): number {
    return 1 + this.random(this.random(4) === 0 ? LONGEST_RUN : 8);
  }

  /** Overwrites; what goes beyond the end is dropped. */
  put(at: number, bytes: ArrayLike<number>): void {
    for (let i = 0; i < bytes.length && at + i < this.bytes.length; i++) this.bytes[at + i] = bytes[i];
  }

  insert(at: number, bytes: ArrayLike<number>): void {
    this.bytes.splice(at, 0, ...Array.from(bytes));
  }
}

function littleEndian(value: number, width: number): number[] {
  return Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
}

function corner(random: Random): number {
  return random(3) === 0 ? WIDE_CORNERS[random(WIDE_CORNERS.length)] : CORNERS[random(CORNERS.length)];
}

const CHANGES: readonly Change[] = [
  // A bit, a byte, a number.
  (m) => {
    const at = m.place();
    m.put(at, [m.bytes[at] ^ 1 << m.random(8)]);
  },
  (m) => m.put(m.place(), [m.random(256)]),
  (m) => {
    const at = m.place();
    m.put(at, [m.bytes[at] + m.random(33) - 16 & 0xff]);
  },
  (m) => m.put(m.place(), littleEndian(corner(m.random), [1, 2, 4, 4][m.random(4)])),
  (m) => m.put(m.place(), littleEndian(corner(m.random), 4).reverse()),
  // Runs.
  (m) => m.bytes.splice(m.place(), m.run()),
  (m) => m.insert(m.place(), Array.from({ length: m.run() }, () => m.random(256))),
  (m) => m.insert(m.place(), new Array(m.run()).fill(m.random(256))),
  (m) => {
    const [from, length] = [m.place(), m.run()];
    m.insert(m.place(), m.bytes.slice(from, from + length));
  },
  (m) => {
    const [from, length] = [m.place(), m.run()];
    m.put(m.place(), m.bytes.slice(from, from + length));
  },
  // Words that mean something.
  (m) => m.dictionary.length > 0 && m.insert(m.place(), m.dictionary[m.random(m.dictionary.length)]),
  (m) => m.dictionary.length > 0 && m.put(m.place(), m.dictionary[m.random(m.dictionary.length)]),
];

/** The beginning of one input, and the end of another. */
function splice(random: Random, input: Uint8Array, other: Uint8Array): Uint8Array {
  const [head, tail] = [input.subarray(0, random(input.length + 1)), other.subarray(random(other.length + 1))];
  const spliced = new Uint8Array(head.length + tail.length);
  spliced.set(head);
  spliced.set(tail, head.length);
  return spliced;
}

/**
 * Makes a new input.
 *
 * @param input What it is made of.
 * @param other Another one, parts of which may come into it.
 */
export function mutate(
  random: Random,
  input: Uint8Array,
  other: Uint8Array,
  { dictionary, maxLength }: Pick<Target, "dictionary" | "maxLength">,
): Uint8Array {
  const mutation = new Mutation(random(4) === 0 ? splice(random, input, other) : input, random, dictionary);
  for (let left = 1 + random(MOST_CHANGES); left > 0; left--) CHANGES[random(CHANGES.length)](mutation);
  return Uint8Array.from(mutation.bytes.slice(0, maxLength));
}
