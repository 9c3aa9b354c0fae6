/**
 * The shadow of a device's registers: what they hold, in memory of the device process that the VMM can read.
 *
 * A device declares ranges in which a load has no side effect. It keeps the shadow current: bytes are up to date before a store that changes
 * them counts as done (the lane's tail), and before an interrupt is signalled that tells of them. x86-64 shows a thread's stores to
 * others in the order of its program, so nothing else is needed for that. A vCPU may then load from the
 * shadow whenever nothing that was asked for before is outstanding; `RingProducer.load` does so.
 *
 * @module
 */
import { LinkError } from "../link_error.ts";
import { type AccessSize, Space } from "./layout.ts";

/** Registers whose loads have no side effects. */
export interface ShadowRange {
  /** See {@linkcode Space}. */
  readonly space: number;
  /** First byte, a multiple of 4. */
  readonly offset: number;
  /** In bytes, a multiple of 4. */
  readonly length: number;
  /** Where it lies in the shadow, a multiple of 4. Ranges may lie in one place: registers that answer at several. */
  readonly at: number;
}

/** What a shadow holds. */
export interface ShadowLayout {
  /** In bytes. */
  readonly size: number;
  readonly ranges: readonly ShadowRange[];
}

/** The most ranges that a device has. */
export const MAX_SHADOW_RANGES = 31;

/** The most bytes that they have together. */
export const MAX_SHADOW_SIZE = 0x10000;

/** Words of a range in the table: space, first offset, end, and where it is in the shadow. */
const RANGE_WORDS = 4;

/**
 * Makes sure of what a peer has declared.
 *
 * @param spaces The size of each space in bytes.
 * @throws {LinkError} when ranges lie outside of the spaces or the shadow, overlap in a space, or are too many.
 */
export function checkShadowLayout({ size, ranges }: ShadowLayout, spaces: readonly number[]): void {
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_SHADOW_SIZE) {
    throw new LinkError(`shadow: ${size} bytes; ${MAX_SHADOW_SIZE} are the most`);
  }
  if (ranges.length > MAX_SHADOW_RANGES) {
    throw new LinkError(`shadow: ${ranges.length} ranges; ${MAX_SHADOW_RANGES} are the most`);
  }
  ranges.forEach((range, i) => checkRange(i, range, spaces, size));
  ranges.forEach(({ space, offset, length }, i) => {
    const overlapped = ranges.findIndex((other, j) =>
      j < i && other.space === space && other.offset < offset + length && offset < other.offset + other.length
    );
    if (overlapped >= 0) throw new LinkError(`shadow: ranges ${overlapped} and ${i} overlap`);
  });
}

function checkRange(i: number, range: ShadowRange, spaces: readonly number[], size: number): void {
  const { space, offset, length, at } = range;
  const aligned = [space, offset, length, at].every((value) => Number.isSafeInteger(value) && value >= 0) &&
    offset % 4 === 0 && length % 4 === 0 && at % 4 === 0 && length > 0;
  if (!aligned || space >= Space.COUNT || offset + length > (spaces[space] ?? 0)) {
    throw new LinkError(`shadow: range ${i} has ${length} bytes at offset ${offset} of space ${space}`);
  }
  if (at + length > size) throw new LinkError(`shadow: range ${i} ends at ${at + length} of ${size} bytes`);
}

/** Where registers are in a shadow. */
class ShadowTable {
  readonly #table: Float64Array;

  constructor(ranges: readonly ShadowRange[]) {
    this.#table = Float64Array.from(
      ranges.flatMap(({ space, offset, length, at }) => [space, offset, offset + length, at]),
    );
  }

  /** The position of a register in the shadow, -1 when it is not there as a whole. */
  find(space: number, offset: number, size: number): number {
    const table = this.#table;
    for (let i = 0; i < table.length; i += RANGE_WORDS) {
      if (table[i] === space && offset >= table[i + 1] && offset + size <= table[i + 2]) {
        return table[i + 3] + offset - table[i + 1];
      }
    }
    return -1;
  }
}

/** The same bytes in all widths, so that an aligned access is one access of the processor. */
class Registers {
  readonly #bytes: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #words: Int32Array;

  constructor({ buffer, byteOffset, length }: Uint8Array) {
    this.#bytes = new Uint8Array(buffer, byteOffset, length);
    this.#halves = new Uint16Array(buffer, byteOffset, length >>> 1);
    this.#words = new Int32Array(buffer, byteOffset, length >>> 2);
  }

  read(at: number, size: AccessSize): number {
    if (size === 4) return Atomics.load(this.#words, at >>> 2) >>> 0;
    return size === 2 ? Atomics.load(this.#halves, at >>> 1) : Atomics.load(this.#bytes, at);
  }
}

/** The VMM's view of a shadow. The peer can change what it holds at any time; it can have any value within its width. */
export class ShadowReader {
  readonly #table: ShadowTable;
  readonly #registers: Registers;

  /**
   * @param memory The shadow, at a multiple of 4.
   * @param ranges As {@linkcode checkShadowLayout} accepts them.
   */
  constructor(memory: Uint8Array, ranges: readonly ShadowRange[]) {
    this.#table = new ShadowTable(ranges);
    this.#registers = new Registers(memory);
  }

  /**
   * The position of a register. An access that is not aligned has none: it could not be read at once, and so would see one half from before
   * a change and the other from after it.
   *
   * @returns -1 when the shadow does not have it.
   */
  find(space: number, offset: number, size: AccessSize): number {
    return (offset & (size - 1)) !== 0 ? -1 : this.#table.find(space, offset, size);
  }

  /** Reads what is at a position, zero-extended. */
  read(at: number, size: AccessSize): number {
    return this.#registers.read(at, size);
  }
}
