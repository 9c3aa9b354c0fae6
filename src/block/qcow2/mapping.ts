/**
 * Where guest data lie: L1 and L2 tables.
 *
 * Every reference out of a table is checked before it is followed. Source: "Cluster mapping" and "Extended L2 Entries" in
 * docs/interop/qcow2.txt of QEMU.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import {
  COMPRESSED,
  COPIED,
  entryOffset,
  hasContradictingSubclusters,
  hasReservedL1Bits,
  hasReservedL2Bits,
  offsetHi,
  offsetLo,
  subclusterMask,
  ZERO,
} from "./entries.ts";
import type { Refcounts } from "./refcounts.ts";
import { type ImageState, SECTOR } from "./state.ts";
import { type Table, TableCache } from "./table_cache.ts";

/** Memory for L2 tables. */
const CACHE_BYTES = 32 * 1024 * 1024;

/** What a part of the disk is. */
export const Kind = {
  /** Not allocated: the backing file's, or zeroes. */
  UNALLOCATED: 0,
  ZERO: 1,
  DATA: 2,
  COMPRESSED: 3,
} as const;

/** A part of the disk that is of one kind, and in one piece in the file. It is reused for the next look-up. */
export interface Mapped {
  /** A value of {@linkcode Kind}. */
  kind: number;
  /** Bytes from where was asked. */
  length: number;
  /** Of data: byte offset in the data file. */
  host: number;
  /** Of data: whether the entries say that they may be overwritten. */
  copied: boolean;
  /** The L2 entry of a compressed cluster. */
  hi: number;
  lo: number;
}

/** The L2 entry of a guest cluster; with the subclusters' bits where there are any. */
export interface ClusterEntry {
  readonly hi: number;
  readonly lo: number;
  /** Extended entries: subclusters that read as zeroes, and allocated ones. */
  readonly zeroBits: number;
  readonly allocatedBits: number;
}

/** The L1 table and the L2 tables. */
export class Mapping {
  readonly #state: ImageState;
  readonly #refcounts: Refcounts;
  readonly tables: TableCache;
  readonly #l1: Uint8Array;
  readonly #l1View: DataView;
  readonly #dirtyL1 = new Set<number>();
  readonly #mapped: Mapped = { kind: 0, length: 0, host: 0, copied: false, hi: 0, lo: 0 };

  /** @param l1 The active L1 table as it is in the image. */
  constructor(state: ImageState, refcounts: Refcounts, l1: Uint8Array) {
    const { clusterSize, file } = state;
    this.#state = state;
    this.#refcounts = refcounts;
    this.tables = new TableCache(file, clusterSize, CACHE_BYTES);
    this.#l1 = l1;
    this.#l1View = new DataView(l1.buffer, l1.byteOffset);
  }

  get hasChanges(): boolean {
    return this.tables.hasDirty || this.#dirtyL1.size > 0;
  }

  /** The offset of the L2 table for a part of the disk; 0 when there is none. */
  #tableOffset(guest: number): number {
    const index = Math.floor(guest / this.#state.l2Span);
    const hi = this.#l1View.getUint32(index * 8);
    const lo = this.#l1View.getUint32(index * 8 + 4);
    if (hi === 0 && lo === 0) return 0;
    const offset = entryOffset(hi, lo);
    const { clusterSize, metadata, fileEnd } = this.#state;
    const known = this.tables.get(offset) !== undefined;
    if (
      hasReservedL1Bits(hi, lo) || offset % clusterSize !== 0 || offset === 0 ||
      (!known && offset + clusterSize > fileEnd) || !metadata.has(offset / clusterSize)
    ) {
      this.#state.corrupt(`L1 entry ${index} has offset 0x${offset.toString(16)}`);
    }
    return offset;
  }

  /** The L2 table for a part of the disk, if it is in memory; `undefined` also where there is none. */
  tableInMemory(guest: number): Table | undefined {
    const offset = this.#tableOffset(guest);
    return offset === 0 ? undefined : this.tables.get(offset);
  }

  /** The L2 table for a part of the disk; `undefined` where there is none. */
  *table(guest: number): Coroutine<Table | undefined> {
    for (;;) {
      const offset = this.#tableOffset(guest);
      if (offset === 0) return undefined;
      const table = this.tables.get(offset) ?? (yield* this.tables.load(offset));
      // Meanwhile the table may have moved, and its cluster hold something else.
      if (this.#tableOffset(guest) === offset) return table;
    }
  }

  /**
   * The L2 table for a part of the disk, to be changed: made where there is none, copied where it is shared with a snapshot. For
   * the holder of the metadata mutex.
   */
  *writableTable(guest: number): Coroutine<Table> {
    const index = Math.floor(guest / this.#state.l2Span);
    const old = this.#tableOffset(guest);
    const { clusterSize, metadata, released } = this.#state;
    if (old !== 0 && this.#l1View.getUint32(index * 8) >= COPIED) {
      const count = yield* this.#refcounts.get(old / clusterSize);
      if (count !== 1) this.#state.corrupt(`L1 entry ${index} is marked as not shared, but its refcount is ${count}`);
      return yield* this.tables.load(old);
    }
    const before = old === 0 ? undefined : yield* this.tables.load(old);
    const { first } = yield* this.#refcounts.allocate(1);
    const table = this.tables.create(first * clusterSize);
    if (before !== undefined) table.bytes.set(before.bytes);
    metadata.add(first);
    this.#setL1(index, first * clusterSize);
    if (old !== 0) {
      metadata.delete(old / clusterSize);
      released.push(old / clusterSize);
    }
    return table;
  }

  #setL1(index: number, offset: number): void {
    this.#l1View.setUint32(index * 8, (offsetHi(offset) | COPIED) >>> 0);
    this.#l1View.setUint32(index * 8 + 4, offsetLo(offset));
    this.#dirtyL1.add(Math.floor(index * 8 / SECTOR));
  }

  /** Writes what has changed of the L1 table, and waits until it is on stable storage. */
  *writeL1(): Coroutine<void> {
    const { file, header } = this.#state;
    for (const sector of [...this.#dirtyL1]) {
      const bytes = this.#l1.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      yield* waitFor((done) => file.write(header.l1TableOffset + sector * SECTOR, bytes, done));
    }
    yield* waitFor((done) => file.sync(done));
    this.#dirtyL1.clear();
  }

  get l1HasChanges(): boolean {
    return this.#dirtyL1.size > 0;
  }

  #entryAt(guest: number): number {
    const { clusterSize, l2Entries, extended } = this.#state;
    return Math.floor(guest / clusterSize) % l2Entries * (extended ? 16 : 8);
  }

  entry(table: Table | undefined, guest: number): ClusterEntry {
    if (table === undefined) return { hi: 0, lo: 0, zeroBits: 0, allocatedBits: 0 };
    const at = this.#entryAt(guest);
    const { view } = table;
    const { extended } = this.#state;
    return {
      hi: view.getUint32(at),
      lo: view.getUint32(at + 4),
      zeroBits: extended ? view.getUint32(at + 8) : 0,
      allocatedBits: extended ? view.getUint32(at + 12) : 0,
    };
  }

  /** Changes an entry of a table out of {@linkcode writableTable}. */
  setEntry(table: Table, guest: number, entry: ClusterEntry): void {
    const at = this.#entryAt(guest);
    table.view.setUint32(at, entry.hi);
    table.view.setUint32(at + 4, entry.lo);
    if (this.#state.extended) {
      table.view.setUint32(at + 8, entry.zeroBits);
      table.view.setUint32(at + 12, entry.allocatedBits);
    }
    this.tables.setDirty(table);
  }

  /**
   * Finds what a part of the disk is.
   *
   * @param table The part's L2 table, as it is now.
   * @param length At least 1; what lies in the next L2 table is not looked at.
   * @returns an object that the next call changes.
   */
  find(table: Table | undefined, guest: number, length: number): Mapped {
    const { l2Span, clusterSize } = this.#state;
    const mapped = this.#mapped;
    const most = Math.min(length, l2Span - guest % l2Span);
    if (table === undefined) {
      mapped.kind = Kind.UNALLOCATED;
      mapped.length = most;
      return mapped;
    }
    this.#classify(table, guest);
    const { kind, host, copied, hi, lo } = mapped;
    let found = mapped.length;
    while (found < most && kind !== Kind.COMPRESSED) {
      this.#classify(table, guest + found);
      if (mapped.kind !== kind) break;
      if (kind === Kind.DATA && (mapped.host !== host + found || mapped.copied !== copied)) break;
      found += mapped.length;
    }
    mapped.kind = kind;
    mapped.host = host;
    mapped.copied = copied;
    mapped.hi = hi;
    mapped.lo = lo;
    mapped.length = Math.min(found, most, kind === Kind.COMPRESSED ? clusterSize - guest % clusterSize : Infinity);
    return mapped;
  }

  /** Sets the result to what is at `guest`, up to the end of its cluster at most. */
  #classify(table: Table, guest: number): void {
    const { clusterSize, extended, header } = this.#state;
    const mapped = this.#mapped;
    const at = this.#entryAt(guest);
    const hi = table.view.getUint32(at);
    const lo = table.view.getUint32(at + 4);
    const within = guest % clusterSize;
    mapped.length = clusterSize - within;
    mapped.hi = hi;
    mapped.lo = lo;
    mapped.copied = hi >= COPIED;
    if ((hi & COMPRESSED) !== 0) {
      if (this.#state.external) this.#badEntry(guest, "a compressed cluster in an image with an external data file");
      mapped.kind = Kind.COMPRESSED;
      return;
    }
    if (hasReservedL2Bits(hi, lo, !extended && header.version >= 3)) this.#badEntry(guest, "reserved bits are set");
    if (extended) return this.#classifySubcluster(table, at, guest, hi, lo);
    if ((lo & ZERO) !== 0) {
      mapped.kind = Kind.ZERO;
    } else if (this.#isUnallocated(hi, lo)) {
      mapped.kind = Kind.UNALLOCATED;
    } else {
      mapped.kind = Kind.DATA;
      mapped.host = this.hostCluster(guest, hi, lo) + within;
    }
  }

  #classifySubcluster(table: Table, at: number, guest: number, hi: number, lo: number): void {
    const { clusterSize, unitSize } = this.#state;
    const mapped = this.#mapped;
    const zeroBits = table.view.getUint32(at + 8);
    const allocatedBits = table.view.getUint32(at + 12);
    if (hasContradictingSubclusters(zeroBits, allocatedBits)) {
      this.#badEntry(guest, "a subcluster is allocated and reads as zeroes");
    }
    const within = guest % clusterSize;
    const first = Math.floor(within / unitSize);
    // Which bits go on as those of the first subcluster do.
    const zero = (zeroBits >>> first & 1) !== 0;
    const allocated = (allocatedBits >>> first & 1) !== 0;
    let end = first + 1;
    while (end < 32 && (zeroBits >>> end & 1) !== 0 === zero && (allocatedBits >>> end & 1) !== 0 === allocated) end++;
    mapped.length = end * unitSize - within;
    if (allocated) {
      if (this.#isUnallocated(hi, lo)) this.#badEntry(guest, "a subcluster is allocated in a cluster that is not");
      mapped.kind = Kind.DATA;
      mapped.host = this.hostCluster(guest, hi, lo) + within;
    } else {
      mapped.kind = zero ? Kind.ZERO : Kind.UNALLOCATED;
    }
  }

  /** Whether a standard entry has no host cluster. Offset 0 is one too, in an external data file, if the entry is marked. */
  #isUnallocated(hi: number, lo: number): boolean {
    return entryOffset(hi, lo) === 0 && hi < COPIED;
  }

  /** The host cluster of a standard entry; `undefined` where it has none. */
  hostOf(guest: number, { hi, lo }: ClusterEntry): number | undefined {
    return (hi & COMPRESSED) !== 0 || this.#isUnallocated(hi, lo) ? undefined : this.hostCluster(guest, hi, lo);
  }

  /** The checked byte offset of the host cluster in a standard entry. */
  hostCluster(guest: number, hi: number, lo: number): number {
    const { clusterSize, external, metadata } = this.#state;
    const offset = entryOffset(hi, lo);
    if (external) {
      if (offset !== guest - guest % clusterSize) this.#badEntry(guest, "its offset is not that in the data file");
      return offset;
    }
    if (offset % clusterSize !== 0) this.#badEntry(guest, `offset 0x${offset.toString(16)} is not aligned`);
    if (offset === 0 || metadata.has(offset / clusterSize)) {
      this.#badEntry(guest, `offset 0x${offset.toString(16)} is metadata's`);
    }
    if (!Number.isSafeInteger(offset + clusterSize)) this.#badEntry(guest, "its offset is beyond 8 PiB");
    return offset;
  }

  #badEntry(guest: number, problem: string): never {
    this.#state.corrupt(`L2 entry for guest offset 0x${guest.toString(16)}: ${problem}`);
  }
}

/** The bits of the subclusters that a range within a cluster covers wholly or in part. */
export function coveredSubclusters(start: number, end: number, unitSize: number): number {
  return subclusterMask(Math.floor(start / unitSize), Math.ceil(end / unitSize));
}
