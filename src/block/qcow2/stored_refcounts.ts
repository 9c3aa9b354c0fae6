/**
 * The refcounts as an image has them, read for a check: nothing of what the refcount table says is trusted.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { hasReservedRefcountTableBits, refcountBlockOffset, type RefcountCodec, refcountCodec } from "./entries.ts";
import { readBytes } from "./file_io.ts";
import type { Qcow2Header } from "./header.ts";
import { NumberMap } from "./number_map.ts";
import { Effort } from "./walk_limits.ts";

/** An entry of the refcount table. */
export interface RefcountTableEntry {
  /** Byte offset of the block; 0 where there is none. */
  readonly offset: number;
  readonly reserved: boolean;
  readonly aligned: boolean;
  /** Whether it lies in the file, at least with its beginning. */
  readonly inFile: boolean;
}

/** Bytes of refcount blocks that are kept. */
const CACHE = 32 * 1024 * 1024;

/** Refcounts by cluster index. */
export class StoredRefcounts {
  readonly codec: RefcountCodec;
  readonly clusterSize: number;
  /** Entries of a block. */
  readonly perBlock: number;
  /** Entries of the refcount table. */
  readonly blocks: number;
  /** What is read here is spent on it. */
  readonly effort: Effort;
  readonly #file: HostFile;
  readonly #table: DataView;
  readonly #cache = new Map<number, Uint8Array>();
  readonly #cached: number;
  /** The blocks in the cache, in a ring: a `Map` takes ever longer to find its oldest key as keys are deleted. */
  readonly #order: number[] = [];
  #oldest = 0;
  /** Indices of blocks that are where an earlier one is already. */
  readonly #repeated: ReadonlySet<number>;

  private constructor(file: HostFile, header: Qcow2Header, table: Uint8Array<ArrayBuffer>, effort: Effort) {
    this.codec = refcountCodec(header.refcountOrder);
    this.clusterSize = 2 ** header.clusterBits;
    this.perBlock = this.codec.entriesIn(this.clusterSize);
    this.blocks = table.length / 8;
    this.#file = file;
    this.#table = new DataView(table.buffer);
    this.#cached = Math.max(2, Math.floor(CACHE / this.clusterSize));
    this.effort = effort;
    this.#repeated = this.#findRepeated();
  }

  /** Reads the refcount table, whose place and size the header's checks bound. */
  static *read(
    file: HostFile,
    header: Qcow2Header,
    effort = new Effort(file.name),
  ): Coroutine<StoredRefcounts> {
    const length = header.refcountTableClusters * 2 ** header.clusterBits;
    return new StoredRefcounts(file, header, yield* readBytes(file, header.refcountTableOffset, length), effort);
  }

  #findRepeated(): ReadonlySet<number> {
    const offsets = new NumberMap();
    const repeated = new Set<number>();
    for (let block = 0; block < this.blocks; block++) {
      const { offset } = this.entry(block);
      if (offset === 0) continue;
      if (offsets.get(offset) === undefined) offsets.set(offset, block);
      else repeated.add(block);
    }
    return repeated;
  }

  /** An entry of the refcount table. */
  entry(block: number): RefcountTableEntry {
    const hi = this.#table.getUint32(block * 8);
    const lo = this.#table.getUint32(block * 8 + 4);
    const offset = refcountBlockOffset(hi, lo);
    return {
      offset,
      reserved: hasReservedRefcountTableBits(lo),
      aligned: offset % this.clusterSize === 0,
      inFile: offset < this.#file.size,
    };
  }

  /**
   * Whether refcounts can be read: there is a block in the file for them, of their own. If a million entries lead to the same block, it
   * counts for the first one only, so that work goes with what is in the file.
   */
  hasBlock(block: number): boolean {
    if (block >= this.blocks) return false;
    const { offset, aligned, inFile } = this.entry(block);
    return offset !== 0 && aligned && inFile && !this.#repeated.has(block);
  }

  /** Whether nothing can be said of a block's refcounts: its offset makes no sense. */
  isUnknown(block: number): boolean {
    return block < this.blocks && !this.entry(block).aligned;
  }

  /** The block at hand without reading it; `null` where there is none, `undefined` where it has to be read. */
  peek(block: number): Uint8Array | null | undefined {
    return this.#cache.get(block) ?? (this.hasBlock(block) ? undefined : null);
  }

  /** A block of refcounts. */
  *block(block: number): Coroutine<Uint8Array | null> {
    const known = this.peek(block);
    if (known !== undefined) return known;
    this.effort.spendTable(this.clusterSize / 8);
    const bytes = yield* readBytes(this.#file, this.entry(block).offset, this.clusterSize);
    const { length } = this.#order;
    if (length < this.#cached) this.#order.push(block);
    else {
      this.#cache.delete(this.#order[this.#oldest]);
      this.#order[this.#oldest] = block;
      this.#oldest = (this.#oldest + 1) % length;
    }
    this.#cache.set(block, bytes);
    return bytes;
  }

  /** The refcount of a cluster; `undefined` where {@linkcode isUnknown}. */
  *get(cluster: number): Coroutine<number | undefined> {
    const index = Math.floor(cluster / this.perBlock);
    if (this.isUnknown(index)) return undefined;
    const block = yield* this.block(index);
    return block === null ? 0 : this.codec.get(block, cluster % this.perBlock);
  }
}
