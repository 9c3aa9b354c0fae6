/**
 * The port and the memory bus: which device answers at an address.
 *
 * The bus owns addresses, devices see offsets. Ranges that the machine itself places are *fixed*: an empty, overflowing
 * or overlapping one is a defect of ours and throws. Ranges that the guest places (BARs, PCIEXBAR, PMBASE) are
 * *movable*: the bus asks where they are, and nothing that the guest answers throws. Where ranges overlap, fixed ones
 * win, then the movable one that was inserted first; the loser answers in whatever part is left to it.
 *
 * Every vCPU thread has bus objects of its own. What the guest moves on one thread has to be noticed by the others:
 * whoever changes shared state that a `locate` function reads calls {@linkcode MappingGeneration.changed} afterwards,
 * and every bus looks at that counter before it dispatches.
 *
 * An access that no range contains as a whole (it crosses the end of one, or of the address space) is carried out byte
 * by byte, low address first, as the chipset's own splitting onto narrower buses would. Bytes that nobody decodes read
 * as all-ones and swallow writes.
 *
 * @module
 */
import { allOnes } from "../device/config_space.ts";
import type { BusDevice } from "./platform/platform.ts";

/** A run of addresses. */
export interface AddressRange {
  /** First address. */
  readonly base: number;
  /** Length in bytes. */
  readonly length: number;
}

/** Where a movable range is now, or `undefined` while the guest has it disabled. */
export type Locate = () => AddressRange | undefined;

/** Counts changes of where movable ranges are, in memory that all threads share. */
export class MappingGeneration {
  readonly #counter: Int32Array;

  /** @param buffer At least four bytes; give the same `SharedArrayBuffer` on every thread. */
  constructor(readonly buffer: ArrayBufferLike = new SharedArrayBuffer(4)) {
    this.#counter = new Int32Array(buffer as ArrayBuffer, 0, 1);
  }

  /** The count; only whether it differs from an earlier one means anything. */
  get current(): number {
    return Atomics.load(this.#counter, 0);
  }

  /**
   * A movable range may have moved: every bus asks again before its next access. Call it after the state is written.
   */
  changed(): void {
    Atomics.add(this.#counter, 0, 1);
  }
}

/** What a bus is made with. */
export interface BusOptions {
  /** For error messages. */
  readonly name: string;
  /** Size of the address space in bytes: 0x10000 for ports. */
  readonly size: number;
  readonly generation: MappingGeneration;
}

/** What takes accesses of 1, 2 or 4 bytes by address. */
export interface AddressSpace {
  read(address: number, size: number): number;
  write(address: number, size: number, value: number): void;
}

/** A part of the address space in which one device answers. */
class Segment implements AddressSpace {
  readonly start: number;
  readonly end: number;
  /** What offset 0 of the device corresponds to; below `start` where another range covers the beginning. */
  readonly base: number;
  readonly device: BusDevice;

  constructor({ start, end, base, device }: { start: number; end: number; base: number; device: BusDevice }) {
    this.start = start;
    this.end = end;
    this.base = base;
    this.device = device;
  }

  read(address: number, size: number): number {
    return this.device.read(address - this.base, size);
  }

  write(address: number, size: number, value: number): void {
    this.device.write(address - this.base, size, value);
  }
}

interface Movable {
  readonly device: BusDevice;
  readonly locate: Locate;
}

/** Up to this size the bus looks addresses up in a table with an entry per address. */
const TABLE_LIMIT = 0x10000;

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The parts of `range` that none of `taken` (sorted, disjoint) covers. */
function uncovered(range: AddressRange, taken: readonly Segment[]): { start: number; end: number }[] {
  const parts: { start: number; end: number }[] = [];
  const end = range.base + range.length;
  let start = range.base;
  for (const other of taken) {
    if (other.end <= start) continue;
    if (other.start >= end) break;
    if (other.start > start) parts.push({ start, end: other.start });
    start = other.end;
  }
  if (start < end) parts.push({ start, end });
  return parts;
}

/** One address space, as one thread sees it. */
export class Bus implements AddressSpace {
  readonly #name: string;
  readonly #size: number;
  readonly #generation: MappingGeneration;
  /** Sorted by address, disjoint. */
  #fixed: Segment[] = [];
  #movable: Movable[] = [];
  /** Fixed and movable ranges resolved: sorted by address, disjoint. */
  #view: Segment[] = [];
  /** The generation that {@linkcode #view} was resolved at; `undefined` when a range was inserted or removed since. */
  #seen: number | undefined;
  #lastHit: Segment | undefined;
  /** For small spaces: address → index into the view plus one, 0 where nobody answers. */
  readonly #table: Uint16Array | undefined;

  constructor({ name, size, generation }: BusOptions) {
    this.#name = name;
    this.#size = size;
    this.#generation = generation;
    this.#table = size <= TABLE_LIMIT ? new Uint16Array(size) : undefined;
  }

  /**
   * Places a device at fixed addresses. A device may have several ranges; its offsets then begin at 0 in each.
   *
   * @throws {RangeError} when the range is empty, exceeds the address space or overlaps another fixed one.
   */
  insert(base: number, length: number, device: BusDevice): void {
    const end = base + length;
    if (!Number.isSafeInteger(base) || !Number.isSafeInteger(length) || base < 0 || length < 1 || end > this.#size) {
      throw new RangeError(`No range of ${length} bytes at ${hex(base)} exists on the ${this.#name} bus`);
    }
    const other = this.#fixed.find((segment) => segment.start < end && base < segment.end);
    if (other !== undefined) {
      throw new RangeError(
        `Range ${hex(base)}-${hex(end - 1)} on the ${this.#name} bus overlaps ${hex(other.start)}-${
          hex(other.end - 1)
        }`,
      );
    }
    this.#fixed = [...this.#fixed, new Segment({ start: base, end, base, device })].sort((a, b) => a.start - b.start);
    this.#seen = undefined;
  }

  /**
   * Adds a device whose addresses the guest chooses.
   *
   * @param locate Called after every change of the generation; must be cheap and must not throw. An empty range counts
   * as none, and what exceeds the address space is cut off.
   */
  insertMovable(device: BusDevice, locate: Locate): void {
    this.#movable.push({ device, locate });
    this.#seen = undefined;
  }

  /** Takes all ranges of a device off this bus. A device that has none here is fine. */
  remove(device: BusDevice): void {
    this.#fixed = this.#fixed.filter((segment) => segment.device !== device);
    this.#movable = this.#movable.filter((range) => range.device !== device);
    this.#seen = undefined;
  }

  /** Reads `size` bytes (1, 2 or 4), little-endian, unsigned. */
  read(address: number, size: number): number {
    const segment = this.#find(address);
    if (segment !== undefined && address + size <= segment.end) {
      return segment.read(address, size);
    }
    if (size === 1) return allOnes(1);
    let value = 0;
    for (let i = 0, unit = 1; i < size; i++, unit *= 0x100) value += this.read(address + i, 1) * unit;
    return value;
  }

  /** Writes `size` bytes (1, 2 or 4) of `value`, little-endian. */
  write(address: number, size: number, value: number): void {
    const segment = this.#find(address);
    if (segment !== undefined && address + size <= segment.end) {
      segment.write(address, size, value);
      return;
    }
    if (size === 1) return;
    for (let i = 0; i < size; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
  }

  /**
   * The device that answers for all of these addresses, if it needs no lock. To be asked without the lock: while ranges may have moved
   * there is none, since finding out where to takes the lock. What it answers with is for one exit of a vCPU: what moves
   * meanwhile may be found at its old place.
   */
  concurrentAt(address: number, length: number): AddressSpace | undefined {
    if (this.#generation.current !== this.#seen) return undefined;
    const segment = this.#lookUp(address);
    return segment?.device.concurrent === true && address + length <= segment.end ? segment : undefined;
  }

  #find(address: number): Segment | undefined {
    const generation = this.#generation.current;
    if (generation !== this.#seen) this.#resolve(generation);
    return this.#lookUp(address);
  }

  #lookUp(address: number): Segment | undefined {
    if (this.#table !== undefined) return this.#view[this.#table[address] - 1];
    const last = this.#lastHit;
    if (last !== undefined && address >= last.start && address < last.end) return last;
    const found = this.#search(address);
    if (found !== undefined) this.#lastHit = found;
    return found;
  }

  #search(address: number): Segment | undefined {
    let low = 0;
    let high = this.#view.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const segment = this.#view[middle];
      if (address < segment.start) high = middle - 1;
      else if (address >= segment.end) low = middle + 1;
      else return segment;
    }
    return undefined;
  }

  /**
   * Asks every movable range where it is. `generation` was read before that, so a change meanwhile is noticed next
   * time.
   */
  #resolve(generation: number): void {
    const view = this.#fixed.slice();
    for (const { device, locate } of this.#movable) {
      const range = this.#clip(locate());
      if (range === undefined) continue;
      for (const part of uncovered(range, view)) view.push(new Segment({ ...part, base: range.base, device }));
      view.sort((a, b) => a.start - b.start);
    }
    this.#view = view;
    this.#lastHit = undefined;
    this.#seen = generation;
    this.#table?.fill(0);
    for (const [index, { start, end }] of view.entries()) this.#table?.fill(index + 1, start, end);
  }

  #clip(range: AddressRange | undefined): AddressRange | undefined {
    if (range === undefined || !Number.isSafeInteger(range.base) || range.base < 0) return undefined;
    const length = Math.min(range.length, this.#size - range.base);
    return length > 0 ? { base: range.base, length } : undefined;
  }
}

/**
 * Reads `length` bytes into the beginning of `data`, in accesses of at most 4 bytes, low addresses first: an 8-byte
 * access becomes two of 4 bytes.
 */
export function loadBytes(space: AddressSpace, address: number, data: DataView, length: number): void {
  for (let done = 0; done < length;) {
    const size = accessSize(length - done);
    writeItem(data, done, size, space.read(address + done, size));
    done += size;
  }
}

/** Writes `length` bytes from the beginning of `data`, split as {@linkcode loadBytes} does. */
export function storeBytes(space: AddressSpace, address: number, data: DataView, length: number): void {
  for (let done = 0; done < length;) {
    const size = accessSize(length - done);
    space.write(address + done, size, readItem(data, done, size));
    done += size;
  }
}

/** The widest access that `left` bytes still fill. */
function accessSize(left: number): 1 | 2 | 4 {
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/** Reads 1, 2 or 4 bytes at an offset, little-endian, unsigned. */
export function readItem(data: DataView, at: number, size: number): number {
  if (size === 4) return data.getUint32(at, true);
  return size === 2 ? data.getUint16(at, true) : data.getUint8(at);
}

/** Writes 1, 2 or 4 bytes at an offset, little-endian. */
export function writeItem(data: DataView, at: number, size: number, value: number): void {
  if (size === 4) data.setUint32(at, value, true);
  else if (size === 2) data.setUint16(at, value, true);
  else data.setUint8(at, value);
}
