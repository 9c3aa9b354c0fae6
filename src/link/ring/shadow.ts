/**
 * The shadow of a device's registers: what they hold, in memory of the device process that the VMM can read.
 *
 * A device declares ranges in which a load has no side effect. It keeps the shadow current: bytes are up to date before a store that changes
 * them counts as done (the lane's tail), and before an interrupt is signalled that tells of them. A vCPU may then load from the
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
}

/** The most ranges that a device has. */
export const MAX_SHADOW_RANGES = 32;

/** The most bytes that they have together. */
export const MAX_SHADOW_SIZE = 0x10000;

const PAGE_SIZE = 4096;

/** Words of a range in the table: space, first offset, end, and where it is in the shadow. */
const RANGE_WORDS = 4;

/**
 * Makes sure of ranges that a peer has declared.
 *
 * @param spaces The size of each space in bytes.
 * @throws {LinkError} when they lie outside of the spaces, overlap, or are too many.
 */
export function checkShadowRanges(ranges: readonly ShadowRange[], spaces: readonly number[]): void {
  if (ranges.length > MAX_SHADOW_RANGES) {
    throw new LinkError(`shadow: ${ranges.length} ranges; ${MAX_SHADOW_RANGES} are the most`);
  }
  let total = 0;
  ranges.forEach(({ space, offset, length }, i) => {
    const whole = [space, offset, length].every((value) => Number.isSafeInteger(value) && value >= 0);
    const aligned = offset % 4 === 0 && length % 4 === 0 && length > 0;
    if (!whole || !aligned || space >= Space.COUNT || offset + length > (spaces[space] ?? 0)) {
      throw new LinkError(`shadow: range ${i} has ${length} bytes at offset ${offset} of space ${space}`);
    }
    const overlapped = ranges.findIndex((other, j) =>
      j < i && other.space === space && other.offset < offset + length && offset < other.offset + other.length
    );
    if (overlapped >= 0) throw new LinkError(`shadow: ranges ${overlapped} and ${i} overlap`);
    total += length;
  });
  if (total > MAX_SHADOW_SIZE) throw new LinkError(`shadow: ranges of ${total} bytes; ${MAX_SHADOW_SIZE} are the most`);
}

/** The size in bytes of a shadow of these ranges, whole pages. */
export function shadowSize(ranges: readonly ShadowRange[]): number {
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  return Math.max(1, Math.ceil(total / PAGE_SIZE)) * PAGE_SIZE;
}

/** Where registers are in a shadow: the ranges lie in it one after the other. */
class ShadowTable {
  readonly #table: Float64Array;

  constructor(ranges: readonly ShadowRange[]) {
    let at = 0;
    this.#table = Float64Array.from(ranges.flatMap(({ space, offset, length }) => {
      at += length;
      return [space, offset, offset + length, at - length];
    }));
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

  write(at: number, size: AccessSize, value: number): void {
    if (size === 4) this.#words[at >>> 2] = value;
    else if (size === 2) this.#halves[at >>> 1] = value;
    else this.#bytes[at] = value;
  }
}

/** The VMM's view of a shadow. The peer can change what it holds at any time; it can have any value within its width. */
export class ShadowReader {
  readonly #table: ShadowTable;
  readonly #registers: Registers;

  /**
   * @param memory At least {@linkcode shadowSize} bytes, at a multiple of 4.
   * @param ranges As {@linkcode checkShadowRanges} accepts them.
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

/** The device's side of a shadow. What it writes is seen by the VMM before anything that this thread publishes or signals later. */
export class ShadowWriter {
  readonly #table: ShadowTable;
  readonly #registers: Registers;

  /** See {@linkcode ShadowReader}. */
  constructor(memory: Uint8Array, ranges: readonly ShadowRange[]) {
    this.#table = new ShadowTable(ranges);
    this.#registers = new Registers(memory);
  }

  /** Keeps a register's value. Aligned ones change at once, others byte by byte; those outside the ranges are left out. */
  write(space: number, offset: number, size: AccessSize, value: number): void {
    if ((offset & (size - 1)) === 0) {
      const at = this.#table.find(space, offset, size);
      if (at >= 0) this.#registers.write(at, size, value);
      if (at >= 0 || size === 1) return;
    }
    for (let i = 0; i < size; i++) {
      const at = this.#table.find(space, offset + i, 1);
      if (at >= 0) this.#registers.write(at, 1, value >>> (8 * i));
    }
  }
}
