/**
 * Compressed blocks of Zstandard: literals, and sequences of literals and matches (RFC 8878, section 3.1.1.3).
 *
 * @module
 */
import { CorruptStreamError } from "./corrupt_stream_error.ts";
import { decodeHuffman, type HuffmanCode, readHuffmanCode } from "./zstd_huffman.ts";
import { executeSequences, newSequenceState, type SequenceState } from "./zstd_sequences.ts";

/** Types of literals sections (section 3.1.1.3.1.1). */
const LiteralsType = { RAW: 0, RLE: 1, COMPRESSED: 2, TREELESS: 3 } as const;

const LARGEST_BLOCK = 128 * 1024;

/** Streams are found by a table of the sizes of the first three. */
const JUMP_TABLE = 6;

/** What a block takes over from those before it in its frame. */
export interface BlockState {
  huffman: HuffmanCode | undefined;
  readonly sequences: SequenceState;
  /** Literals of a block while it is decompressed. */
  readonly literals: Uint8Array;
}

/**
 * @param start Where the frame's output begins: matches do not reach back beyond it.
 * @param room How many bytes of output there can be.
 */
export function newBlockState(start: number, room: number): BlockState {
  const literals = new Uint8Array(Math.min(room, LARGEST_BLOCK));
  return { huffman: undefined, sequences: newSequenceState(start), literals };
}

/** A literals section's header (section 3.1.1.3.1.1). */
interface LiteralsHeader {
  readonly type: number;
  /** Bytes of literals that come out, and that there are in the section behind the header. */
  readonly regenerated: number;
  readonly stored: number;
  readonly streams: 1 | 4;
  /** Bytes of the header. */
  readonly size: number;
}

function literalsHeader(view: DataView, at: number): LiteralsHeader {
  const first = view.getUint8(at);
  const [type, format] = [first & 3, first >> 2 & 3];
  if (type === LiteralsType.RAW || type === LiteralsType.RLE) {
    const size = (format & 1) === 0 ? 1 : format === 1 ? 2 : 3;
    const regenerated = size === 1 ? first >> 3 : (view.getUint32(at, true) & 2 ** (8 * size) - 1) >> 4;
    return { type, regenerated, stored: type === LiteralsType.RLE ? 1 : regenerated, streams: 1, size };
  }
  const bits = format < 2 ? 10 : format === 2 ? 14 : 18;
  // Two numbers of so many bits behind the first four.
  const low = view.getUint32(at, true);
  const all = low + view.getUint8(at + 4) * 2 ** 32;
  return {
    type,
    regenerated: Math.floor(low / 16) % 2 ** bits,
    stored: Math.floor(all / 2 ** (4 + bits)) % 2 ** bits,
    streams: format === 0 ? 1 : 4,
    size: 4 + 2 * bits + 7 >> 3,
  };
}

/**
 * Decompresses a block that lies from `start` to `end`.
 *
 * @param into All of the output so far, up to `to`, and room for the block's.
 * @returns the end of the output.
 */
export function decompressBlock(
  state: BlockState,
  view: DataView,
  start: number,
  end: number,
  into: Uint8Array,
  to: number,
): number {
  const header = literalsHeader(view, start);
  const from = start + header.size;
  if (from + header.stored > end) throw new CorruptStreamError("a literals section ends too early");
  if (header.regenerated > into.length - to) throw new CorruptStreamError("there are more literals than there is room");
  const literals = state.literals.subarray(0, header.regenerated);
  readLiterals(state, header, view, from, literals);
  return executeSequences(state.sequences, view, from + header.stored, end, literals, into, to);
}

function readLiterals(
  state: BlockState,
  header: LiteralsHeader,
  view: DataView,
  start: number,
  into: Uint8Array,
): void {
  switch (header.type) {
    case LiteralsType.RAW:
      return into.set(new Uint8Array(view.buffer, view.byteOffset + start, into.length));
    case LiteralsType.RLE:
      into.fill(view.getUint8(start));
      return;
  }
  const end = start + header.stored;
  let from = start;
  if (header.type === LiteralsType.COMPRESSED) {
    const { code, size } = readHuffmanCode(view, start, end);
    state.huffman = code;
    from += size;
  }
  if (state.huffman === undefined) throw new CorruptStreamError("a block goes by a Huffman code that was not sent");
  if (header.streams === 1) decodeHuffman(state.huffman, view, from, end, into);
  else fourStreams(state.huffman, view, from, end, into);
}

/** Section 3.1.1.3.1.6. */
function fourStreams(code: HuffmanCode, view: DataView, start: number, end: number, into: Uint8Array): void {
  if (start + JUMP_TABLE > end) throw new CorruptStreamError("the jump table of a literals section ends too early");
  const part = Math.ceil(into.length / 4);
  let from = start + JUMP_TABLE;
  for (let stream = 0; stream < 4; stream++) {
    const until = stream === 3 ? end : from + view.getUint16(start + 2 * stream, true);
    if (until > end || part * stream > into.length) {
      throw new CorruptStreamError("a stream of a literals section lies outside of it");
    }
    decodeHuffman(code, view, from, until, into.subarray(part * stream, part * (stream + 1)));
    from = until;
  }
}
