/**
 * The guest's RAM as a device sees it: a few regions of guest-physical addresses, and nothing between them.
 *
 * The VMM builds one over its own mapping, the device process over the regions that SYNC_SYSMEM announced. Every access is
 * checked here: what does not lie in RAM as a whole is refused and counted, and touches nothing.
 *
 * @module
 */

/** A run of guest RAM. */
export interface MemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  /** The bytes themselves, shared with the guest: another CPU may change them at any time. */
  readonly bytes: Uint8Array;
}

/**
 * Direct memory access: what a device model may do to guest RAM.
 *
 * Addresses are guest-physical, in bytes. An access that is not wholly inside RAM does nothing and returns `false`
 * (a real device would see a master abort). No method throws for any address or length.
 */
export interface Dma {
  /** Copies `into.length` bytes from guest RAM at `address`. On refusal `into` is left as it was. */
  read(address: number, into: Uint8Array): boolean;
  /** Copies all of `from` to guest RAM at `address`. On refusal nothing is written. */
  write(address: number, from: Uint8Array): boolean;
}

/** Guest RAM made of non-overlapping regions; see {@linkcode Dma} for the access rules. */
export class GuestMemory implements Dma {
  #regions: readonly MemoryRegion[] = [];
  #refused = 0;

  /** @param regions The initial regions, in any order. See {@linkcode GuestMemory.replace}. */
  constructor(regions: readonly MemoryRegion[] = []) {
    this.replace(regions);
  }

  /** The regions, by ascending address. */
  get regions(): readonly MemoryRegion[] {
    return this.#regions;
  }

  /** How many accesses were refused because they did not lie in RAM as a whole. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Replaces all regions at once.
   *
   * @throws {RangeError} when an address is not a safe integer or two regions overlap; the old regions then stay.
   */
  replace(regions: readonly MemoryRegion[]): void {
    const sorted = regions.filter((region) => region.bytes.length > 0).sort((a, b) => a.gpa - b.gpa);
    let end = 0;
    for (const { gpa, bytes } of sorted) {
      if (!Number.isSafeInteger(gpa) || gpa < 0 || !Number.isSafeInteger(gpa + bytes.length)) {
        throw new RangeError(`Memory region at ${gpa} of ${bytes.length} bytes is not addressable`);
      }
      if (gpa < end) throw new RangeError(`Memory region at 0x${gpa.toString(16)} overlaps the one before it`);
      end = gpa + bytes.length;
    }
    this.#regions = sorted;
  }

  read(address: number, into: Uint8Array): boolean {
    const region = this.#whole(address, into.length);
    if (region === undefined) return this.#transfer(address, into, (ram, part) => part.set(ram));
    copy(region.bytes, address - region.gpa, into, 0, into.length);
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    const region = this.#whole(address, from.length);
    if (region === undefined) return this.#transfer(address, from, (ram, part) => ram.set(part));
    copy(from, 0, region.bytes, address - region.gpa, from.length);
    return true;
  }

  /**
   * The bytes at `address` without a copy, where one region holds all of them.
   *
   * @returns A view of guest RAM, or `undefined` when the range is outside RAM or crosses regions (not counted as refused).
   */
  view(address: number, length: number): Uint8Array | undefined {
    const region = this.#find(address);
    if (region === undefined || !(length >= 0)) return undefined;
    const offset = address - region.gpa;
    return offset + length <= region.bytes.length ? region.bytes.subarray(offset, offset + length) : undefined;
  }

  /** Whether the whole range is RAM. An empty range is, where its address is. */
  contains(address: number, length: number): boolean {
    if (!Number.isSafeInteger(address) || !(length >= 0)) return false;
    const end = address + length;
    let at = address;
    do {
      const region = this.#find(at);
      if (region === undefined) return false;
      at = region.gpa + region.bytes.length;
    } while (at < end);
    return true;
  }

  #find(address: number): MemoryRegion | undefined {
    for (const region of this.#regions) {
      if (address >= region.gpa && address < region.gpa + region.bytes.length) return region;
    }
    return undefined;
  }

  /** The region that holds all of a range: the usual case, and the fast one. */
  #whole(address: number, length: number): MemoryRegion | undefined {
    const region = this.#find(address);
    return region !== undefined && address + length <= region.gpa + region.bytes.length ? region : undefined;
  }

  /** A range that crosses regions, or is not RAM. */
  #transfer(address: number, buffer: Uint8Array, move: (ram: Uint8Array, part: Uint8Array) => void): boolean {
    if (buffer.length === 0) return true;
    if (!this.contains(address, buffer.length)) {
      this.#refused++;
      return false;
    }
    for (let done = 0; done < buffer.length;) {
      const region = this.#find(address + done)!;
      const offset = address + done - region.gpa;
      const length = Math.min(buffer.length - done, region.bytes.length - offset);
      move(region.bytes.subarray(offset, offset + length), buffer.subarray(done, done + length));
      done += length;
    }
    return true;
  }
}

/** Up to this many bytes a loop is faster than the views that `set` needs. */
const SHORT_COPY = 32;

function copy(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number): void {
  if (length > SHORT_COPY) return to.set(from.subarray(fromAt, fromAt + length), toAt);
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i];
}
