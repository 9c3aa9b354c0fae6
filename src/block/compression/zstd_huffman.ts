/**
 * Huffman codes of Zstandard's literals (RFC 8878, section 4.2).
 *
 * @module
 */
import { BackwardBits } from "./backward_bits.ts";
import { CorruptStreamError } from "./corrupt_stream_error.ts";
import { fseTable, readDistribution } from "./fse.ts";

/** Longest code, in bits. */
const LONGEST_CODE = 11;

/** Weights that a description can have; the last symbol's follows from the others. */
const MOST_WEIGHTS = 255;

/** Highest accuracy of the code that weights are sent in, and how many weights there are. */
const WEIGHT_ACCURACY = 6;
const WEIGHTS = LONGEST_CODE + 2;

/** A code: for every value of the next `width` bits, the symbol in the upper 12 bits and its code's length in the lower 4. */
export interface HuffmanCode {
  readonly width: number;
  readonly codes: Uint16Array;
}

/** A code, and how many bytes described it. */
export interface DescribedCode {
  readonly code: HuffmanCode;
  readonly size: number;
}

/** Reads the description of a code (section 4.2.1) that begins at `start` and lies before `end`. */
export function readHuffmanCode(view: DataView, start: number, end: number): DescribedCode {
  if (start >= end) throw new CorruptStreamError("the description of a Huffman code ends too early");
  const header = view.getUint8(start);
  const size = 1 + (header < 128 ? header : header - 126 >> 1);
  if (start + size > end) throw new CorruptStreamError("the description of a Huffman code ends too early");
  const weights = header < 128
    ? compressedWeights(view, start + 1, start + size)
    : Uint8Array.from({ length: header - 127 }, (_, i) => view.getUint8(start + 1 + (i >> 1)) >> (i & 1 ? 0 : 4) & 15);
  return { code: huffmanCode(weights), size };
}

/** Section 4.2.1.2: two states take turns, until the bits do not suffice for the next one. */
function compressedWeights(view: DataView, start: number, end: number): Uint8Array {
  const description = new Uint8Array(view.buffer, view.byteOffset + start, end - start);
  const distribution = readDistribution(description, WEIGHTS, WEIGHT_ACCURACY);
  const { accuracyLog, symbols, bits: widths, bases } = fseTable(distribution);
  const bits = new BackwardBits(view, start + distribution.size, end);
  const states = [bits.take(accuracyLog), bits.take(accuracyLog)];
  const weights: number[] = [];
  if (bits.left < 0) throw new CorruptStreamError("the weights of a Huffman code end too early");
  for (let turn = 0; bits.left >= 0; turn ^= 1) {
    if (weights.length >= MOST_WEIGHTS - 1) throw new CorruptStreamError("a Huffman code has too many weights");
    weights.push(symbols[states[turn]]);
    states[turn] = bases[states[turn]] + bits.take(widths[states[turn]]);
    if (bits.left < 0) weights.push(symbols[states[turn ^ 1]]);
  }
  return Uint8Array.from(weights);
}

/** Makes the code that weights describe (section 4.2.1.3). */
function huffmanCode(given: Uint8Array): HuffmanCode {
  let sum = 0;
  for (const weight of given) {
    if (weight > LONGEST_CODE) throw new CorruptStreamError(`a Huffman code has a weight of ${weight}`);
    sum += 1 << weight >> 1;
  }
  const width = 32 - Math.clz32(sum);
  const rest = (1 << width) - sum;
  if (sum === 0 || width > LONGEST_CODE || (rest & rest - 1) !== 0) {
    throw new CorruptStreamError("the weights of a Huffman code do not add up");
  }
  const weights = Uint8Array.of(...given, 32 - Math.clz32(rest));
  const codes = new Uint16Array(1 << width);
  let at = 0;
  for (let weight = 1; weight <= width; weight++) {
    for (let symbol = 0; symbol < weights.length; symbol++) {
      if (weights[symbol] !== weight) continue;
      const end = at + (1 << weight - 1);
      codes.fill(symbol << 4 | width + 1 - weight, at, end);
      at = end;
    }
  }
  return { width, codes };
}

/**
 * Decodes a stream that lies from `start` to `end` into the whole of `into`.
 *
 * @throws {CorruptStreamError} when it is longer or shorter than that.
 */
export function decodeHuffman(
  { width, codes }: HuffmanCode,
  view: DataView,
  start: number,
  end: number,
  into: Uint8Array,
): void {
  const bits = new BackwardBits(view, start, end);
  let left = bits.left;
  let to = 0;
  // Two codes at a time, as long as four bytes of the stream are there: 7 + 2 * 11 bits fit.
  const shift = 32 - width;
  while (left >= 32 && to + 1 < into.length) {
    const word = view.getUint32(start + (left - 25 >>> 3), true) << 32 - 25 - (left - 25 & 7);
    const first = codes[word >>> shift];
    const second = codes[word << (first & 15) >>> shift];
    into[to++] = first >> 4;
    into[to++] = second >> 4;
    left -= (first & 15) + (second & 15);
  }
  bits.left = left;
  while (to < into.length) {
    const entry = codes[bits.peek(width)];
    into[to++] = entry >> 4;
    bits.left -= entry & 15;
  }
  if (bits.left !== 0) throw new CorruptStreamError("a Huffman stream has another length than its header says");
}
