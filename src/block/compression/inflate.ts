/**
 * Inflates raw deflate streams (RFC 1951), into a buffer of known size.
 *
 * Streams are those of disk images, which may be anybody's: each step reads input or fills output, of which there is so much
 * and no more, and what a stream asks for beyond its own bytes is an error.
 *
 * @module
 */
import { CorruptStreamError } from "./corrupt_stream_error.ts";
import { copyMatch } from "./match.ts";

/** Block types, BTYPE (section 3.2.3). */
const BlockType = { STORED: 0, FIXED: 1, DYNAMIC: 2 } as const;

/** Longest code (section 3.2.7), in bits. */
const LONGEST_CODE = 15;

const END_OF_BLOCK = 256;
/** The first symbol of the literal/length alphabet that is a length, and how many symbols there are that can be used. */
const FIRST_LENGTH = 257;
const MOST_LITERALS = 286;
const MOST_DISTANCES = 30;

/** Length and distance codes: smallest value and number of extra bits, by symbol (section 3.2.5). */
const LENGTH_BASE = Uint16Array.of(
  ...[
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    13,
    15,
    17,
    19,
    23,
    27,
    31,
    35,
    43,
    51,
    59,
    67,
    83,
    99,
    115,
    131,
    163,
    195,
    227,
    258,
  ],
);
const LENGTH_EXTRA = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0],
);
const DISTANCE_EXTRA = Uint8Array.from({ length: MOST_DISTANCES }, (_, symbol) => Math.max(0, (symbol >> 1) - 1));
const DISTANCE_BASE = Uint16Array.from(
  { length: MOST_DISTANCES },
  (_, symbol) => symbol < 2 ? symbol + 1 : (2 + (symbol & 1) << DISTANCE_EXTRA[symbol]) + 1,
);

/** The order in which the lengths of the code length alphabet's codes come (section 3.2.7). */
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/**
 * A prefix code: {@linkcode codes} has, for every value of the next `width` bits, the symbol whose code these begin with in the
 * upper 12 bits, and the length of that code in the lower 4. 0 stands for bits that are no code.
 */
interface PrefixCode {
  readonly width: number;
  readonly codes: Uint16Array;
}

/**
 * Makes the code that lengths describe (section 3.2.2).
 *
 * @param lengths Of the symbols' codes, in bits; 0 for symbols without one.
 * @throws {CorruptStreamError} for lengths that no prefix code has. As in zlib, a code may leave bits unused only when it has no
 * more than one symbol, of one bit.
 */
function prefixCode(lengths: Uint8Array): PrefixCode {
  const counts = new Uint16Array(LONGEST_CODE + 1);
  for (const length of lengths) counts[length]++;
  let width = LONGEST_CODE;
  while (width > 0 && counts[width] === 0) width--;
  const next = new Uint32Array(LONGEST_CODE + 1);
  let code = 0;
  for (let length = 1; length <= width; length++) {
    next[length] = code;
    code += counts[length];
    if (code > 1 << length) throw new CorruptStreamError("a prefix code has more codes than there can be");
    code <<= 1;
  }
  if (width > 1 && code !== 2 << width) throw new CorruptStreamError("a prefix code is not complete");
  const codes = new Uint16Array(1 << width);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol];
    if (length === 0) continue;
    // Codes are sent from their most significant bit on, everything else from the least significant.
    const step = 1 << length;
    for (let at = reverse(next[length]++, length); at < codes.length; at += step) codes[at] = symbol << 4 | length;
  }
  return { width, codes };
}

function reverse(code: number, length: number): number {
  let reversed = 0;
  for (let bit = 0; bit < length; bit++) reversed |= (code >> bit & 1) << (length - 1 - bit);
  return reversed;
}

/** The codes of blocks with BTYPE 01 (section 3.2.6), made when first needed. */
let fixedCodes: { literals: PrefixCode; distances: PrefixCode } | undefined;

function makeFixedCodes() {
  const lengths = new Uint8Array(288).fill(8).fill(9, 144, 256).fill(7, 256, 280);
  return { literals: prefixCode(lengths), distances: prefixCode(new Uint8Array(32).fill(5)) };
}

const truncated = () => new CorruptStreamError("it ends too early");
const unknownCode = () => new CorruptStreamError("there are bits that are no code");

class Inflater {
  readonly #data: Uint8Array;
  readonly #into: Uint8Array;
  /** Where the next bytes come from and go to. */
  #from = 0;
  #to = 0;
  /** Bits that were taken out of the data and not used: `#count` of them, the next one in bit 0. */
  #hold = 0;
  #count = 0;

  constructor(data: Uint8Array, into: Uint8Array) {
    this.#data = data;
    this.#into = into;
  }

  run(): void {
    let last = false;
    while (this.#to < this.#into.length) {
      if (last) throw new CorruptStreamError(`it has ${this.#to} bytes, not ${this.#into.length}`);
      last = this.#take(1) === 1;
      this.#block(this.#take(2));
    }
  }

  #block(type: number): void {
    switch (type) {
      case BlockType.STORED:
        return this.#stored();
      case BlockType.FIXED: {
        const { literals, distances } = fixedCodes ??= makeFixedCodes();
        return this.#compressed(literals, distances);
      }
      case BlockType.DYNAMIC:
        return this.#dynamic();
      default:
        throw new CorruptStreamError("a block has the type 3, which does not exist");
    }
  }

  /** Takes bytes out of the data until there are 25 bits or more, or nothing is left. What lies behind the end reads as zeroes. */
  #fill(): void {
    while (this.#count <= 24 && this.#from < this.#data.length) {
      this.#hold |= this.#data[this.#from++] << this.#count;
      this.#count += 8;
    }
  }

  #drop(bits: number): void {
    if (bits > this.#count) throw truncated();
    this.#hold >>>= bits;
    this.#count -= bits;
  }

  /** The next `bits` bits, at most 16. */
  #take(bits: number): number {
    this.#fill();
    const value = this.#hold & (1 << bits) - 1;
    this.#drop(bits);
    return value;
  }

  /** Section 3.2.4. */
  #stored(): void {
    this.#drop(this.#count & 7);
    const length = this.#take(16);
    if (this.#take(16) !== (~length & 0xffff)) throw new CorruptStreamError("LEN and NLEN of a stored block differ");
    // Bytes that were taken out already go back.
    this.#from -= this.#count >> 3;
    this.#hold = this.#count = 0;
    const wanted = Math.min(length, this.#into.length - this.#to);
    if (this.#from + wanted > this.#data.length) throw truncated();
    this.#into.set(this.#data.subarray(this.#from, this.#from + wanted), this.#to);
    this.#from += wanted;
    this.#to += wanted;
  }

  /** Section 3.2.7. */
  #dynamic(): void {
    const literals = this.#take(5) + FIRST_LENGTH;
    const distances = this.#take(5) + 1;
    const lengthCodes = this.#take(4) + 4;
    if (literals > MOST_LITERALS || distances > MOST_DISTANCES) {
      throw new CorruptStreamError("HLIT or HDIST of a block has more codes than there are");
    }
    const lengthLengths = new Uint8Array(LENGTH_ORDER.length);
    for (let i = 0; i < lengthCodes; i++) lengthLengths[LENGTH_ORDER[i]] = this.#take(3);
    const lengths = this.#codeLengths(prefixCode(lengthLengths), literals + distances);
    if (lengths[END_OF_BLOCK] === 0) throw new CorruptStreamError("a block has no code for its end");
    this.#compressed(prefixCode(lengths.subarray(0, literals)), prefixCode(lengths.subarray(literals)));
  }

  #codeLengths(code: PrefixCode, count: number): Uint8Array {
    const lengths = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const symbol = this.#symbol(code);
      if (symbol < 16) {
        lengths[at++] = symbol;
        continue;
      }
      if (symbol === 16 && at === 0) throw new CorruptStreamError("a block repeats a code length before the first");
      const value = symbol === 16 ? lengths[at - 1] : 0;
      const repeat = symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7);
      if (at + repeat > count) throw new CorruptStreamError("a block repeats a code length too often");
      lengths.fill(value, at, at += repeat);
    }
    return lengths;
  }

  #symbol({ codes }: PrefixCode): number {
    this.#fill();
    const entry = codes[this.#hold & codes.length - 1];
    if (entry === 0) throw unknownCode();
    this.#drop(entry & 15);
    return entry >> 4;
  }

  /**
   * The symbols of a block, up to its end or that of the buffer. State is in locals and steps are written out: this is where the
   * time goes.
   */
  #compressed({ codes: literals }: PrefixCode, { codes: distances }: PrefixCode): void {
    const [data, into] = [this.#data, this.#into];
    const [literalMask, distanceMask] = [literals.length - 1, distances.length - 1];
    let [from, to, hold, count] = [this.#from, this.#to, this.#hold, this.#count];
    while (to < into.length) {
      while (count <= 24 && from < data.length) hold |= data[from++] << count, count += 8;
      const entry = literals[hold & literalMask];
      if (entry === 0) throw unknownCode();
      hold >>>= entry & 15;
      if ((count -= entry & 15) < 0) throw truncated();
      const symbol = entry >> 4;
      if (symbol < END_OF_BLOCK) {
        into[to++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) break;
      if (symbol >= MOST_LITERALS) throw unknownCode();
      const lengthExtra = LENGTH_EXTRA[symbol - FIRST_LENGTH];
      const length = LENGTH_BASE[symbol - FIRST_LENGTH] + (hold & (1 << lengthExtra) - 1);
      hold >>>= lengthExtra;
      count -= lengthExtra;
      while (count <= 24 && from < data.length) hold |= data[from++] << count, count += 8;
      const distanceEntry = distances[hold & distanceMask];
      const distanceSymbol = distanceEntry >> 4;
      if (distanceEntry === 0 || distanceSymbol >= MOST_DISTANCES) throw unknownCode();
      hold >>>= distanceEntry & 15;
      count -= distanceEntry & 15;
      while (count <= 24 && from < data.length) hold |= data[from++] << count, count += 8;
      const distanceExtra = DISTANCE_EXTRA[distanceSymbol];
      const distance = DISTANCE_BASE[distanceSymbol] + (hold & (1 << distanceExtra) - 1);
      hold >>>= distanceExtra;
      if ((count -= distanceExtra) < 0) throw truncated();
      if (distance > to) throw new CorruptStreamError("a match lies before the beginning");
      to = copyMatch(into, to, distance, length);
    }
    [this.#from, this.#to, this.#hold, this.#count] = [from, to, hold, count];
  }
}

/**
 * Inflates a stream into `into`, and looks at no more of it once that is full: the end of compressed clusters is known by the
 * sector only (qcow2.txt, "Compressed Clusters Descriptor"). Matches may reach back as far as there is output.
 *
 * @throws {CorruptStreamError} when the stream breaks the format, or ends before `into` is full.
 */
export function inflateRaw(data: Uint8Array, into: Uint8Array): void {
  new Inflater(data, into).run();
}
