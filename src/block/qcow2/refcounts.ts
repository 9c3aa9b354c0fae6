/**
 * Reference counts of host clusters, and the allocation of clusters by them.
 *
 * Source: "Host cluster management" in docs/interop/qcow2.txt of QEMU.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import {
  hasReservedRefcountTableBits,
  offsetHi,
  offsetLo,
  refcountBlockOffset,
  type RefcountCodec,
  refcountCodec,
} from "./entries.ts";
import { Limits } from "./header.ts";
import { type ImageState, SECTOR } from "./state.ts";
import { type Table, TableCache } from "./table_cache.ts";

/** Memory for refcount blocks. */
const CACHE_BYTES = 4 * 1024 * 1024;

/** Freed clusters that are remembered one by one. */
const FREED_LIMIT = 65536;

/** Clusters in a row. */
export interface ClusterRun {
  readonly first: number;
  readonly count: number;
  /** Whether they lie beyond all that the file ever had, so that they read as zeroes. */
  readonly fresh: boolean;
}

/** The refcount table and its blocks. All but {@linkcode known} is for the holder of the metadata mutex. */
export class Refcounts {
  readonly #state: ImageState;
  readonly #codec: RefcountCodec;
  /** Entries of a block. */
  readonly #perBlock: number;
  readonly blocks: TableCache;
  #table: Uint8Array;
  #view: DataView;
  /** Where the table lies in the image, and its length there. */
  #place: { offset: number; clusters: number };
  /** A place for a table that has grown. */
  #nextPlace: ClusterRun | undefined;
  readonly #dirtySectors = new Set<number>();
  /** No cluster below it is free, but for those in {@linkcode Refcounts.#freed} and those from `#freedFrom` on. */
  #hint = 0;
  readonly #freed: number[] = [];
  #freedFrom = Infinity;
  /** The number of the cluster behind the last that was ever in use. */
  #usedEnd: number;

  /** @param table The refcount table as it is in the image. */
  constructor(state: ImageState, table: Uint8Array) {
    const { header, clusterSize, file } = state;
    this.#state = state;
    this.#codec = refcountCodec(header.refcountOrder);
    this.#perBlock = this.#codec.entriesIn(clusterSize);
    this.blocks = new TableCache(file, clusterSize, CACHE_BYTES);
    this.#table = table;
    this.#view = new DataView(table.buffer, table.byteOffset);
    this.#place = { offset: header.refcountTableOffset, clusters: header.refcountTableClusters };
    this.#usedEnd = Math.ceil(file.size / clusterSize);
  }

  get hasChanges(): boolean {
    return this.blocks.hasDirty || this.#dirtySectors.size > 0 || this.#hasGrown;
  }

  get #hasGrown(): boolean {
    return this.#table.length > this.#place.clusters * this.#state.clusterSize;
  }

  /** The refcount of a cluster, if it is in memory. */
  known(cluster: number): number | undefined {
    const offset = this.#blockOffset(Math.floor(cluster / this.#perBlock));
    if (offset === 0) return 0;
    const block = this.blocks.get(offset);
    return block === undefined ? undefined : this.#codec.get(block.bytes, cluster % this.#perBlock);
  }

  *get(cluster: number): Coroutine<number> {
    const known = this.known(cluster);
    if (known !== undefined) return known;
    const block = yield* this.blocks.load(this.#blockOffset(Math.floor(cluster / this.#perBlock)));
    return this.#codec.get(block.bytes, cluster % this.#perBlock);
  }

  /** Where a refcount block lies; 0 when there is none. */
  #blockOffset(index: number): number {
    if (index * 8 >= this.#table.length) return 0;
    const hi = this.#view.getUint32(index * 8);
    const lo = this.#view.getUint32(index * 8 + 4);
    const offset = refcountBlockOffset(hi, lo);
    const { clusterSize, fileEnd } = this.#state;
    // A new block reaches the file only with the next commit.
    const end = Math.max(fileEnd, this.#usedEnd * clusterSize);
    if (hasReservedRefcountTableBits(lo) || offset % clusterSize !== 0 || offset + clusterSize > end) {
      this.#state.corrupt(`refcount table entry ${index} has offset 0x${offset.toString(16)}`);
    }
    return offset;
  }

  /**
   * Allocates clusters that lie in a row; their refcount is 1 then.
   *
   * @param most At most so many; fewer where fewer are free in a row.
   * @throws {SyscallError} ENOSPC when there is no room.
   */
  *allocate(most: number): Coroutine<ClusterRun> {
    for (;;) {
      const freed = this.#freed.pop();
      if (freed === undefined) break;
      if ((yield* this.#isFree(freed))) return yield* this.#take(freed, most);
    }
    if (this.#freedFrom < this.#hint) this.#hint = this.#freedFrom;
    this.#freedFrom = Infinity;
    do this.#hint = yield* this.#findFree(this.#hint); while (!(yield* this.#isFree(this.#hint)));
    const run = yield* this.#take(this.#hint, most);
    this.#hint = run.first + run.count;
    return run;
  }

  /** The first cluster that is not in use. Blocks are searched without waiting: a large image has millions of refcounts. */
  *#findFree(from: number): Coroutine<number> {
    const { metadata } = this.#state;
    for (let cluster = from;;) {
      const { bytes } = yield* this.#blockFor(cluster);
      const end = (Math.floor(cluster / this.#perBlock) + 1) * this.#perBlock;
      for (; cluster < end; cluster++) {
        if (this.#codec.get(bytes, cluster % this.#perBlock) === 0 && !metadata.has(cluster)) return cluster;
      }
    }
  }

  /** Allocates just so many clusters in a row, behind all that are in use. */
  *#allocateRow(count: number): Coroutine<ClusterRun> {
    let first = this.#usedEnd;
    for (let found = 0; found < count; found++) {
      if (!(yield* this.#isFree(first + found))) {
        first += found + 1;
        found = -1;
      }
    }
    return yield* this.#take(first, count);
  }

  /** Takes a free cluster and those free ones that follow it. */
  *#take(first: number, most: number): Coroutine<ClusterRun> {
    let count = 1;
    while (count < most && (yield* this.#isFree(first + count))) count++;
    for (let i = 0; i < count; i++) yield* this.#set(first + i, 1);
    const fresh = first >= this.#usedEnd && this.#state.file.kind === "file";
    this.#usedEnd = Math.max(this.#usedEnd, first + count);
    return { first, count, fresh };
  }

  *#isFree(cluster: number): Coroutine<boolean> {
    const { file, clusterSize, metadata } = this.#state;
    if (file.kind === "device" && (cluster + 1) * clusterSize > file.size) {
      throw new SyscallError("allocate a cluster", Errno.ENOSPC);
    }
    yield* this.#blockFor(cluster);
    return (yield* this.get(cluster)) === 0 && !metadata.has(cluster);
  }

  /** The block for a cluster's refcount, which is made where there is none. */
  *#blockFor(cluster: number): Coroutine<Table> {
    const index = Math.floor(cluster / this.#perBlock);
    if (index * 8 >= this.#table.length) this.#grow(index);
    const offset = this.#blockOffset(index);
    if (offset !== 0) return yield* this.blocks.load(offset);
    return this.#makeBlock(index);
  }

  /** Makes a refcount block in the first of the clusters that it counts: none of them is in use. */
  #makeBlock(index: number): Table {
    const { metadata, clusterSize, file } = this.#state;
    let place = index * this.#perBlock;
    while (metadata.has(place)) place++;
    if (place >= (index + 1) * this.#perBlock) this.#state.corrupt(`refcount block ${index} is missing`);
    if (file.kind === "device" && (place + 1) * clusterSize > file.size) {
      throw new SyscallError("allocate a cluster", Errno.ENOSPC);
    }
    const block = this.blocks.create(place * clusterSize);
    this.#codec.set(block.bytes, place % this.#perBlock, 1);
    this.#view.setUint32(index * 8, offsetHi(place * clusterSize));
    this.#view.setUint32(index * 8 + 4, offsetLo(place * clusterSize));
    this.#dirtySectors.add(Math.floor(index * 8 / SECTOR));
    metadata.add(place);
    this.#usedEnd = Math.max(this.#usedEnd, place + 1);
    return block;
  }

  /** Makes the table longer, in memory; it gets its place in the image with the next commit. */
  #grow(index: number): void {
    const { clusterSize } = this.#state;
    const needed = Math.ceil((index + 1) * 8 / clusterSize) * clusterSize;
    if (needed > Limits.MAX_REFCOUNT_TABLE) throw new SyscallError("grow the refcount table", Errno.EFBIG);
    const roomy = Math.ceil(this.#table.length * 1.5 / clusterSize) * clusterSize;
    const table = new Uint8Array(Math.min(Math.max(needed, roomy), Limits.MAX_REFCOUNT_TABLE));
    table.set(this.#table);
    this.#table = table;
    this.#view = new DataView(table.buffer);
  }

  *#set(cluster: number, value: number): Coroutine<void> {
    const block = yield* this.#blockFor(cluster);
    this.#codec.set(block.bytes, cluster % this.#perBlock, value);
    this.blocks.setDirty(block);
  }

  /** Adds a reference to a cluster that is in use. @returns whether a refcount can tell of one more; if not, nothing changes. */
  *acquire(cluster: number): Coroutine<boolean> {
    const count = yield* this.get(cluster);
    if (count === 0 || count >= this.#codec.max) return false;
    yield* this.#set(cluster, count + 1);
    return true;
  }

  /** Gives one reference to a cluster back. @returns whether it was the last. */
  *release(cluster: number): Coroutine<boolean> {
    const count = yield* this.get(cluster);
    if (count === 0) this.#state.corrupt(`the refcount of cluster ${cluster}, which is in use, is 0`);
    yield* this.#set(cluster, count - 1);
    return count === 1;
  }

  /** Says that clusters whose last reference is gone may be handed out again. */
  reuse(clusters: readonly number[]): void {
    // Handed out from the end: in ascending order, so that they make rows.
    for (const cluster of [...clusters].sort((a, b) => b - a)) {
      if (this.#freed.length < FREED_LIMIT) this.#freed.push(cluster);
      else this.#freedFrom = Math.min(this.#freedFrom, cluster);
    }
  }

  /** Finds a place for the table if it has grown. */
  *prepareCommit(): Coroutine<void> {
    const { clusterSize } = this.#state;
    while (this.#hasGrown && this.#nextPlace?.count !== this.#table.length / clusterSize) {
      const outgrown = this.#nextPlace;
      this.#nextPlace = undefined;
      if (outgrown !== undefined) yield* this.#releaseRow(outgrown.first, outgrown.count);
      // The row itself may need more blocks than the table has entries for.
      this.#nextPlace = yield* this.#allocateRow(this.#table.length / clusterSize);
    }
  }

  *#releaseRow(first: number, count: number): Coroutine<void> {
    for (let i = 0; i < count; i++) yield* this.release(first + i);
  }

  /** Writes what has changed of the table, whose blocks are on stable storage already. */
  *writeTable(): Coroutine<void> {
    if (this.#nextPlace !== undefined) return yield* this.#moveTable(this.#nextPlace);
    if (this.#dirtySectors.size === 0) return;
    const sectors = [...this.#dirtySectors];
    const { file } = this.#state;
    for (const sector of sectors) {
      const bytes = this.#table.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      yield* waitFor((done) => file.write(this.#place.offset + sector * SECTOR, bytes, done));
    }
    yield* waitFor((done) => file.sync(done));
    this.#dirtySectors.clear();
  }

  *#moveTable({ first, count }: ClusterRun): Coroutine<void> {
    const { file, clusterSize, metadata, released } = this.#state;
    const offset = first * clusterSize;
    yield* waitFor((done) => file.write(offset, this.#table, done));
    yield* waitFor((done) => file.sync(done));
    this.#state.setRefcountTable(offset, count);
    yield* this.#state.writeHeader();
    const old = this.#place;
    for (let i = 0; i < count; i++) metadata.add(first + i);
    for (let i = 0; i < old.clusters; i++) {
      metadata.delete(old.offset / clusterSize + i);
      released.push(old.offset / clusterSize + i);
    }
    this.#place = { offset, clusters: count };
    this.#nextPlace = undefined;
    this.#dirtySectors.clear();
  }
}
