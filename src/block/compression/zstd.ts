/**
 * Decompresses Zstandard frames (RFC 8878), into a buffer of known size.
 *
 * Frames are those of disk images, which may be anybody's. The window is the buffer itself, so however large a frame says that it is, it
 * takes no memory. Dictionaries are refused. Checksums, which QEMU does not write, are not looked at.
 *
 * @module
 */
import { PADDING } from "./backward_bits.ts";
import { CorruptStreamError } from "./corrupt_stream_error.ts";
import { type BlockState, decompressBlock, newBlockState } from "./zstd_block.ts";

const FRAME_MAGIC = 0xfd2fb528;
/** Frames of other contents, to be skipped: 16 magic numbers (section 3.1.2). */
const SKIPPABLE_MAGIC = 0x184d2a50;

/** Largest window that is accepted, in bytes, as in libzstd (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`). */
const LARGEST_WINDOW = 2 ** 27;

/** Largest block, when the window is no smaller (section 3.1.1.2.4). */
const LARGEST_BLOCK = 128 * 1024;

/** Block types (section 3.1.1.2.2). */
const BlockType = { RAW: 0, RLE: 1, COMPRESSED: 2 } as const;

class Decompressor {
  /** The data, with bytes behind that can be loaded without looking. */
  readonly #data: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  readonly #into: Uint8Array;
  #from = 0;
  #to = 0;

  constructor(data: Uint8Array, into: Uint8Array) {
    this.#data = new Uint8Array(data.length + PADDING);
    this.#data.set(data);
    this.#view = new DataView(this.#data.buffer);
    this.#end = data.length;
    this.#into = into;
  }

  run(): void {
    while (this.#to < this.#into.length) {
      const magic = this.#view.getUint32(this.#take(4), true);
      if (magic === FRAME_MAGIC) this.#frame();
      else if ((magic & ~15) >>> 0 === SKIPPABLE_MAGIC) this.#take(this.#view.getUint32(this.#take(4), true));
      else throw new CorruptStreamError(`it is no Zstandard frame, or only ${this.#to} bytes of ${this.#into.length}`);
    }
  }

  /** Goes on by `size` bytes. @returns where they begin. */
  #take(size: number): number {
    if (size > this.#end - this.#from) throw new CorruptStreamError("it ends too early");
    this.#from += size;
    return this.#from - size;
  }

  #byte(): number {
    return this.#data[this.#take(1)];
  }

  #frame(): void {
    const start = this.#to;
    const { contentSize, largestBlock, checksum } = this.#frameHeader();
    const state = newBlockState(start, this.#into.length - start);
    for (let last = false; !last;) {
      const at = this.#take(3);
      const header = this.#data[at] | this.#data[at + 1] << 8 | this.#data[at + 2] << 16;
      last = (header & 1) !== 0;
      const size = header >> 3;
      if (size > largestBlock) throw new CorruptStreamError(`a block has a size of ${size}`);
      this.#block(header >> 1 & 3, size, largestBlock, state);
    }
    if (contentSize !== undefined && this.#to - start !== contentSize) {
      throw new CorruptStreamError(`Frame_Content_Size is ${contentSize}, not ${this.#to - start}`);
    }
    if (checksum) this.#take(4);
  }

  /** Section 3.1.1.1. */
  #frameHeader(): { contentSize: number | undefined; largestBlock: number; checksum: boolean } {
    const descriptor = this.#byte();
    const [sizeFlag, dictionaryFlag] = [descriptor >> 6, descriptor & 3];
    const singleSegment = (descriptor & 0x20) !== 0;
    if ((descriptor & 0x08) !== 0) throw new CorruptStreamError("a reserved bit of a frame header is set");
    const window = singleSegment ? undefined : this.#byte();
    if (this.#number([0, 1, 2, 4][dictionaryFlag]) !== 0) throw new CorruptStreamError("it needs a dictionary");
    const sizeBytes = sizeFlag === 0 ? Number(singleSegment) : 1 << sizeFlag;
    const contentSize = sizeBytes === 0 ? undefined : this.#number(sizeBytes) + (sizeBytes === 2 ? 256 : 0);
    const windowSize = window === undefined ? contentSize! : 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
    if (windowSize > LARGEST_WINDOW) throw new CorruptStreamError(`it has a window of ${windowSize} bytes`);
    return { contentSize, largestBlock: Math.min(windowSize, LARGEST_BLOCK), checksum: (descriptor & 0x04) !== 0 };
  }

  /** A little-endian number of 0 to 8 bytes. */
  #number(size: number): number {
    let value = 0;
    for (let at = this.#take(size), i = size - 1; i >= 0; i--) value = value * 256 + this.#data[at + i];
    return value;
  }

  #block(type: number, size: number, largest: number, state: BlockState): void {
    const to = this.#to;
    switch (type) {
      case BlockType.RAW: {
        const from = this.#take(size);
        this.#to = this.#room(size);
        this.#into.set(this.#data.subarray(from, from + size), to);
        return;
      }
      case BlockType.RLE: {
        const value = this.#byte();
        this.#to = this.#room(size);
        this.#into.fill(value, to, to + size);
        return;
      }
      case BlockType.COMPRESSED: {
        const from = this.#take(size);
        const room = this.#into.subarray(0, Math.min(this.#into.length, to + largest));
        this.#to = decompressBlock(state, this.#view, from, from + size, room, to);
        return;
      }
      default:
        throw new CorruptStreamError("a block has the type 3, which is reserved");
    }
  }

  /** The end of the next `size` bytes of output. */
  #room(size: number): number {
    if (size > this.#into.length - this.#to) throw tooLong(this.#into.length);
    return this.#to + size;
  }
}

function tooLong(length: number): CorruptStreamError {
  return new CorruptStreamError(`it has more than ${length} bytes`);
}

/**
 * Decompresses frames until `into` is full. What follows the frame that fills it is not looked at: the end of compressed
 * clusters is known by the sector only (qcow2.txt, "Compressed Clusters Descriptor").
 *
 * @throws {CorruptStreamError} when a frame breaks the format, or there are more or fewer bytes than `into` has.
 */
export function decompressZstd(data: Uint8Array, into: Uint8Array): void {
  new Decompressor(data, into).run();
}
