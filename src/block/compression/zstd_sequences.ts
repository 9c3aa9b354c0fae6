/**
 * Sequences of Zstandard: how many literals, then a match of which length from how far back (RFC 8878, sections 3.1.1.3.2
 * and 3.1.1.4).
 *
 * @module
 */
import { BackwardBits } from "./backward_bits.ts";
import { CorruptStreamError } from "./corrupt_stream_error.ts";
import { constantTable, type FseTable, fseTable, readDistribution } from "./fse.ts";
import { copyMatch } from "./match.ts";

/** How a table is given (section 3.1.1.3.2.1). */
const Mode = { PREDEFINED: 0, RLE: 1, COMPRESSED: 2, REPEAT: 3 } as const;

/** One of the three kinds of codes that a sequence is made of. */
interface Alphabet {
  readonly symbols: number;
  /** Highest accuracy of a table. */
  readonly accuracy: number;
  /** The distribution of the mode "predefined" (section 3.1.1.3.2.2), and its accuracy. */
  readonly predefined: { readonly accuracyLog: number; readonly counts: Int16Array };
}

const LITERAL_LENGTHS: Alphabet = {
  symbols: 36,
  accuracy: 9,
  predefined: {
    accuracyLog: 6,
    counts: Int16Array.of(
      ...[4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1],
      ...[-1, -1, -1, -1],
    ),
  },
};

const MATCH_LENGTHS: Alphabet = {
  symbols: 53,
  accuracy: 9,
  predefined: {
    accuracyLog: 6,
    counts: Int16Array.of(
      ...[1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
      ...[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1],
    ),
  },
};

const OFFSETS: Alphabet = {
  symbols: 32,
  accuracy: 8,
  predefined: {
    accuracyLog: 5,
    counts: Int16Array.of(
      ...[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
    ),
  },
};

/** Extra bits of literal and match length codes, and the smallest length of each (section 3.1.1.3.2.1.1). */
const LITERAL_EXTRA = Uint8Array.of(
  ...[
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    1,
    1,
    1,
    2,
    2,
    3,
    3,
    4,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
  ],
);
const MATCH_EXTRA = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
);
const LITERAL_BASE = bases(LITERAL_EXTRA, 0);
const MATCH_BASE = bases(MATCH_EXTRA, 3);

/** Each code goes on where the one before ends. */
function bases(extra: Uint8Array, first: number): Uint32Array {
  let next = first;
  return Uint32Array.from(extra, (bits) => (next += 1 << bits) - (1 << bits));
}

/** What a block's sequences take over from the block before. */
export interface SequenceState {
  /** Where the output of the frame begins. */
  readonly start: number;
  literalLengths: FseTable | undefined;
  offsets: FseTable | undefined;
  matchLengths: FseTable | undefined;
  /** The offsets that were used last, the last one first. */
  readonly recent: [number, number, number];
}

export function newSequenceState(start: number): SequenceState {
  return { start, literalLengths: undefined, offsets: undefined, matchLengths: undefined, recent: [1, 4, 8] };
}

/** Reads the tables in front of the sequences. */
class TableReader {
  constructor(readonly view: DataView, public at: number, readonly end: number) {}

  byte(): number {
    if (this.at >= this.end) throw new CorruptStreamError("a sequences section ends too early");
    return this.view.getUint8(this.at++);
  }

  table(mode: number, { symbols, accuracy, predefined }: Alphabet, previous: FseTable | undefined): FseTable {
    switch (mode) {
      case Mode.PREDEFINED:
        return fseTable(predefined);
      case Mode.RLE: {
        const symbol = this.byte();
        if (symbol >= symbols) throw new CorruptStreamError(`a sequence has the code ${symbol}`);
        return constantTable(symbol);
      }
      case Mode.COMPRESSED: {
        const rest = new Uint8Array(this.view.buffer, this.view.byteOffset + this.at, this.end - this.at);
        const distribution = readDistribution(rest, symbols, accuracy);
        this.at += distribution.size;
        return fseTable(distribution);
      }
      default:
        if (previous === undefined) throw new CorruptStreamError("a block repeats a table that was not sent");
        return previous;
    }
  }
}

/** Section 3.1.1.3.2.1. */
function sequenceCount(reader: TableReader): number {
  const first = reader.byte();
  if (first < 128) return first;
  const second = reader.byte();
  return first < 255 ? (first - 128 << 8) + second : 0x7f00 + second + (reader.byte() << 8);
}

/**
 * Reads the sequences section from `start` to `end` and carries it out, up to the last literal.
 *
 * @param into All of the output so far, up to `to`, and room for more.
 * @returns the end of the output.
 */
export function executeSequences(
  state: SequenceState,
  view: DataView,
  start: number,
  end: number,
  literals: Uint8Array,
  into: Uint8Array,
  to: number,
): number {
  const reader = new TableReader(view, start, end);
  const count = sequenceCount(reader);
  let used = 0;
  if (count > 0) {
    const modes = reader.byte();
    if ((modes & 3) !== 0) throw new CorruptStreamError("a reserved bit of a sequences section is set");
    state.literalLengths = reader.table(modes >> 6, LITERAL_LENGTHS, state.literalLengths);
    state.offsets = reader.table(modes >> 4 & 3, OFFSETS, state.offsets);
    state.matchLengths = reader.table(modes >> 2 & 3, MATCH_LENGTHS, state.matchLengths);
    [used, to] = runSequences(state, count, new BackwardBits(view, reader.at, end), literals, into, to);
  } else if (reader.at !== end) {
    throw new CorruptStreamError("a block without sequences has bytes that are none");
  }
  const rest = literals.subarray(used);
  if (rest.length > into.length - to) throw new CorruptStreamError("it has more bytes than there is room");
  into.set(rest, to);
  return to + rest.length;
}

/** @returns how many literals were used, and the end of the output. */
function runSequences(
  state: SequenceState,
  count: number,
  bits: BackwardBits,
  literals: Uint8Array,
  into: Uint8Array,
  to: number,
): [used: number, to: number] {
  const { start, recent } = state;
  const [lengths, offsets, matches] = [state.literalLengths!, state.offsets!, state.matchLengths!];
  let used = 0;
  let lengthState = bits.take(lengths.accuracyLog);
  let offsetState = bits.take(offsets.accuracyLog);
  let matchState = bits.take(matches.accuracyLog);
  for (let i = 0; i < count; i++) {
    const offsetCode = offsets.symbols[offsetState];
    const lengthCode = lengths.symbols[lengthState];
    const matchCode = matches.symbols[matchState];
    const offsetValue = 2 ** offsetCode + takeLong(bits, offsetCode);
    const match = MATCH_BASE[matchCode] + bits.take(MATCH_EXTRA[matchCode]);
    const length = LITERAL_BASE[lengthCode] + bits.take(LITERAL_EXTRA[lengthCode]);
    if (i + 1 < count) {
      lengthState = lengths.bases[lengthState] + bits.take(lengths.bits[lengthState]);
      matchState = matches.bases[matchState] + bits.take(matches.bits[matchState]);
      offsetState = offsets.bases[offsetState] + bits.take(offsets.bits[offsetState]);
    }
    if (bits.left < 0 || length > literals.length - used || length + match > into.length - to) {
      throw new CorruptStreamError("the sequences of a block ask for more than there is");
    }
    for (const end = used + length; used < end;) into[to++] = literals[used++];
    const distance = takeOffset(recent, offsetValue, length === 0);
    if (distance === 0 || distance > to - start) throw new CorruptStreamError("a match lies before the beginning");
    to = copyMatch(into, to, distance, match);
  }
  if (bits.left !== 0) throw new CorruptStreamError("the sequences of a block are followed by bits that are none");
  return [used, to];
}

/** Takes up to 32 bits. */
function takeLong(bits: BackwardBits, count: number): number {
  return count <= 16 ? bits.take(count) : bits.take(count - 16) * 2 ** 16 + bits.take(16);
}

/**
 * What an offset value stands for; 1 to 3 are offsets that were used lately (section 3.1.1.5).
 *
 * @param shifted Whether there are no literals before the match: the last offset would then make one match of two.
 */
function takeOffset(recent: [number, number, number], value: number, shifted: boolean): number {
  const index = value > 3 ? 3 : value - 1 + Number(shifted);
  if (index === 0) return recent[0];
  const offset = value > 3 ? value - 3 : index === 3 ? recent[0] - 1 : recent[index];
  if (index !== 1) recent[2] = recent[1];
  recent[1] = recent[0];
  recent[0] = offset;
  return offset;
}
