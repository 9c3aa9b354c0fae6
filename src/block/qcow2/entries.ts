/**
 * Entries of qcow2's tables: L1, L2 (standard, compressed, extended), refcount table and refcount blocks.
 *
 * An entry of 64 bits is a pair of 32-bit halves, `hi` and `lo`: numbers are exact up to 53 bits only. A decoded offset
 * that is a multiple of 512 is exact whatever its size. Source: "Cluster mapping", "Extended L2 Entries" and "Host cluster
 * management" in docs/interop/qcow2.txt of QEMU.
 *
 * @module
 */

/** Bit 63 of L1 and L2 entries, in `hi`: the refcount is exactly one, so that writing in place is allowed. */
export const COPIED = 0x80000000;
/** Bit 62 of L2 entries, in `hi`: a compressed cluster. */
export const COMPRESSED = 0x40000000;
/** Bit 0 of standard L2 entries of version 3, in `lo`: the cluster reads as zeroes. */
export const ZERO = 1;

/** Bits 9..55, the host cluster offset. */
const OFFSET_HI = 0x00ffffff;
const OFFSET_LO = 0xfffffe00;

/** The offset in an L1 entry or a standard L2 entry. */
export function entryOffset(hi: number, lo: number): number {
  return (hi & OFFSET_HI) * 2 ** 32 + ((lo & OFFSET_LO) >>> 0);
}

/** The upper half of an entry for an offset. */
export function offsetHi(offset: number): number {
  return Math.floor(offset / 2 ** 32);
}

/** The lower half of an entry for an offset. */
export function offsetLo(offset: number): number {
  return offset >>> 0;
}

/** Whether an L1 entry has bits that must be zero: 0..8 and 56..62. */
export function hasReservedL1Bits(hi: number, lo: number): boolean {
  return (hi & 0x7f000000) !== 0 || (lo & 0x1ff) !== 0;
}

/** Whether a standard L2 entry has bits that must be zero: 1..8 and 56..61, and bit 0 unless `zeroFlag` exists. */
export function hasReservedL2Bits(hi: number, lo: number, zeroFlag: boolean): boolean {
  return (hi & 0x3f000000) !== 0 || (lo & (zeroFlag ? 0x1fe : 0x1ff)) !== 0;
}

/** The offset in an entry of the refcount table: bits 9..63. Beyond the safe integers it is inexact, but no file goes there. */
export function refcountBlockOffset(hi: number, lo: number): number {
  return hi * 2 ** 32 + ((lo & OFFSET_LO) >>> 0);
}

/** Whether an entry of the refcount table has bits that must be zero: 0..8. */
export function hasReservedRefcountTableBits(lo: number): boolean {
  return (lo & 0x1ff) !== 0;
}

/** Sectors of compressed data. */
export const COMPRESSED_SECTOR = 512;

/** Where a compressed cluster lies. */
export interface CompressedExtent {
  /** Of the first byte; of any alignment. */
  readonly offset: number;
  /** Most bytes that the compressed data take, up to the end of their last sector. */
  readonly length: number;
}

/**
 * Decodes the descriptor of a compressed cluster: bits 0..x-1 are the offset, x..61 the number of further sectors, with
 * x = 62 - (cluster_bits - 8).
 *
 * @returns `undefined` when the offset has bits beyond 55, which must be zero, or is not a safe integer.
 */
export function compressedExtent(hi: number, lo: number, clusterBits: number): CompressedExtent | undefined {
  // In the upper half: 30 bits of descriptor, of which the top (cluster_bits - 8) count sectors. x is 49..61, so x - 32 >= 17.
  const shift = 62 - (clusterBits - 8) - 32;
  const sectors = (hi & 0x3fffffff) >>> shift;
  const offsetHigh = hi & ((1 << shift) - 1);
  if (offsetHigh > 0x001fffff) return undefined;
  const offset = offsetHigh * 2 ** 32 + lo;
  return { offset, length: (sectors + 1) * COMPRESSED_SECTOR - (offset % COMPRESSED_SECTOR) };
}

/**
 * Encodes the descriptor of a compressed cluster.
 *
 * @returns the halves, with {@linkcode COMPRESSED} set; `undefined` when the offset or length does not fit.
 */
export function encodeCompressed(
  { offset, length }: CompressedExtent,
  clusterBits: number,
): { hi: number; lo: number } | undefined {
  const shift = 62 - (clusterBits - 8) - 32;
  const high = Math.floor(offset / 2 ** 32);
  const first = Math.floor(offset / COMPRESSED_SECTOR);
  const further = Math.floor((offset + length - 1) / COMPRESSED_SECTOR) - first;
  if (high >= 2 ** Math.min(shift, 24) || further >= 2 ** (clusterBits - 8)) return undefined;
  return { hi: (COMPRESSED | (further << shift) | high) >>> 0, lo: offset >>> 0 };
}

/** Subclusters of a cluster with extended L2 entries. */
export const SUBCLUSTERS = 32;

/** Extended L2 entries, second half: the 32 bits in its lower part say "allocated", those in its upper part "reads as zeroes". */
export function hasContradictingSubclusters(zeroBits: number, allocatedBits: number): boolean {
  return (zeroBits & allocatedBits) !== 0;
}

/** The bits of subclusters `from` up to `to` (not included), 0..32. */
export function subclusterMask(from: number, to: number): number {
  const below = (count: number) => (count >= 32 ? 0xffffffff : 2 ** count - 1);
  return (below(to) & ~below(from)) >>> 0;
}

/** Reads and writes the entries of a refcount block, whose width is `1 << order` bits. */
export interface RefcountCodec {
  /** Largest refcount that the width has, or that fits into a safe integer. */
  readonly max: number;
  /** Entries in a block of `bytes` bytes. */
  entriesIn(bytes: number): number;
  /** A refcount beyond the safe integers comes out inexact, but beyond them. */
  get(block: Uint8Array, index: number): number;
  /** `value` is 0..{@linkcode max}. */
  set(block: Uint8Array, index: number, value: number): void;
}

/** @param order 0..6 */
export function refcountCodec(order: number): RefcountCodec {
  const bits = 1 << order;
  const entriesIn = (bytes: number) => (bytes * 8) / bits;
  if (order < 3) return { max: 2 ** bits - 1, entriesIn, ...subByteCodec(order) };
  const width = bits / 8;
  return {
    max: Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER),
    entriesIn,
    get(block, index) {
      let value = 0;
      for (let at = index * width, end = at + width; at < end; at++) value = value * 256 + block[at];
      return value;
    },
    set(block, index, value) {
      for (let at = (index + 1) * width - 1; at >= index * width; at--) {
        block[at] = value % 256;
        value = Math.floor(value / 256);
      }
    },
  };
}

/** Widths below 8 bits: the first entry lies in the least significant bits of the first byte. */
function subByteCodec(order: number): Pick<RefcountCodec, "get" | "set"> {
  const bits = 1 << order;
  const mask = (1 << bits) - 1;
  const perByte = 3 - order;
  const shiftOf = (index: number) => (index & ((1 << perByte) - 1)) << order;
  return {
    get: (block, index) => (block[index >>> perByte] >>> shiftOf(index)) & mask,
    set(block, index, value) {
      const at = index >>> perByte;
      const shift = shiftOf(index);
      block[at] = (block[at] & ~(mask << shift)) | (value << shift);
    },
  };
}
