/**
 * How often the tables of an image refer to each of its clusters, and as what.
 *
 * Memory goes with the parts of the file that are referred to, not with the file's size: files are sparse.
 *
 * @module
 */
import { NumberMap } from "./number_map.ts";

/** What a cluster is used as; bits. */
export const Use = {
  HEADER: 1,
  L1_TABLE: 2,
  L2_TABLE: 4,
  DATA: 8,
  COMPRESSED: 16,
  REFCOUNTS: 32,
  SNAPSHOTS: 64,
  BITMAPS: 128,
} as const;

const NAMES: readonly string[] = [
  "the header",
  "an L1 table",
  "an L2 table",
  "guest data",
  "compressed guest data",
  "refcounts",
  "the snapshot table",
  "a bitmap",
];

/** Uses that several references may share: by snapshots, or by compressed clusters beside each other. */
const SHAREABLE = Use.L2_TABLE | Use.DATA | Use.COMPRESSED;

/**
 * Clusters per page, the unit in which memory is taken: few, since an image can be made so that each reference leads to a page of its
 * own. No refcount block is smaller.
 */
export const PAGE_CLUSTERS = 32;

/** Clusters per slab: few large arrays instead of many small ones. */
const SLAB = 2 ** 14;

/** A count and a use. */
const CLUSTER_BYTES = 2;

/** Stands in a slab for a count that does not fit and is in a map. */
const LARGE = 0xff;

/**
 * Counts by cluster index.
 *
 * A cluster among others that are referred to takes 3 bytes; one that is alone in its page, 110.
 */
export class ReferenceCounts {
  /** Where the clusters of each page begin, over all slabs. */
  readonly #slots = new NumberMap();
  readonly #counts: Uint8Array[] = [];
  readonly #uses: Uint8Array[] = [];
  readonly #large = new NumberMap();
  readonly #checkMemory: (bytes: number) => void;
  #highest = -1;
  /** The page that was looked for last, and what was found: references come in rows. */
  #latestPage = -1;
  #latestSlot: number | undefined;

  /** @param checkMemory Is told how many bytes of memory all this takes when it grows, and may throw. */
  constructor(checkMemory: (bytes: number) => void = () => {}) {
    this.#checkMemory = checkMemory;
  }

  /** The highest cluster that is referred to; -1 where none is. */
  get highest(): number {
    return this.#highest;
  }

  /** Counts `times` references more. */
  add(cluster: number, times: number, use: number): void {
    const at = this.#place(cluster);
    const counts = this.#counts[Math.floor(at / SLAB)];
    const sum = this.#value(counts[at % SLAB], cluster) + times;
    if (sum >= LARGE) this.#setLarge(cluster, sum);
    counts[at % SLAB] = Math.min(sum, LARGE);
    this.#uses[Math.floor(at / SLAB)][at % SLAB] |= use;
    if (cluster > this.#highest) this.#highest = cluster;
  }

  /** References to a cluster. */
  count(cluster: number): number {
    const slot = this.#slotOf(Math.floor(cluster / PAGE_CLUSTERS));
    if (slot === undefined) return 0;
    const at = slot + cluster % PAGE_CLUSTERS;
    return this.#value(this.#counts[Math.floor(at / SLAB)][at % SLAB], cluster);
  }

  /** Puts the references to all clusters of a page into an array of {@linkcode PAGE_CLUSTERS}. */
  read(page: number, into: Float64Array): void {
    const slot = this.#slotOf(page);
    if (slot === undefined) return void into.fill(0);
    const counts = this.#counts[Math.floor(slot / SLAB)];
    const start = slot % SLAB;
    for (let i = 0; i < PAGE_CLUSTERS; i++) {
      into[i] = this.#value(counts[start + i], page * PAGE_CLUSTERS + i);
    }
  }

  /** Forgets the references to a cluster. @returns how many there were. */
  take(cluster: number): number {
    const count = this.count(cluster);
    if (count === 0) return 0;
    const at = this.#place(cluster);
    this.#counts[Math.floor(at / SLAB)][at % SLAB] = 0;
    return count;
  }

  /** Bits of {@linkcode Use}. */
  uses(cluster: number): number {
    const slot = this.#slotOf(Math.floor(cluster / PAGE_CLUSTERS));
    if (slot === undefined) return 0;
    const at = slot + cluster % PAGE_CLUSTERS;
    return this.#uses[Math.floor(at / SLAB)][at % SLAB];
  }

  /** Whether this use is the only one, and no other reference of the same kind exists. */
  isOnly(cluster: number, use: number): boolean {
    return this.uses(cluster) === use && ((use & SHAREABLE) !== 0 || this.count(cluster) === 1);
  }

  /**
   * Why a cluster cannot be all that it is used as: tables are never shared but L2 tables by snapshots, and nothing lies over a table.
   *
   * @returns what it is used as, for a message; `undefined` where that is possible.
   */
  conflict(cluster: number): string | undefined {
    const uses = this.uses(cluster);
    const data = (uses & ~(Use.DATA | Use.COMPRESSED)) === 0;
    const single = (uses & (uses - 1)) === 0;
    if (data || (single && this.isOnly(cluster, uses))) return undefined;
    const names = NAMES.filter((_, bit) => (uses & (1 << bit)) !== 0);
    return single ? `${names[0]} twice` : names.join(" and ");
  }

  /** Indices of the pages with references in them, {@linkcode PAGE_CLUSTERS} clusters each; ascending. */
  pages(): Float64Array {
    return this.#slots.sortedKeys();
  }

  #value(stored: number, cluster: number): number {
    return stored === LARGE ? this.#large.get(cluster)! : stored;
  }

  #setLarge(cluster: number, count: number): void {
    const before = this.#large.bytes;
    this.#large.set(cluster, count);
    if (this.#large.bytes > before) this.#checkMemory(this.#bytes);
  }

  get #bytes(): number {
    return this.#counts.length * SLAB * CLUSTER_BYTES + this.#slots.bytes + this.#large.bytes;
  }

  /** Where a page begins, over all slabs; `undefined` for one that nothing refers to. */
  #slotOf(page: number): number | undefined {
    if (page !== this.#latestPage) {
      this.#latestSlot = this.#slots.get(page);
      this.#latestPage = page;
    }
    return this.#latestSlot;
  }

  /** Where a cluster's count is, over all slabs. */
  #place(cluster: number): number {
    const page = Math.floor(cluster / PAGE_CLUSTERS);
    const slot = this.#slotOf(page) ?? this.#addPage(page);
    return slot + cluster % PAGE_CLUSTERS;
  }

  #addPage(page: number): number {
    const slot = this.#slots.size * PAGE_CLUSTERS;
    this.#slots.set(page, slot);
    this.#latestSlot = slot;
    if (slot % SLAB > 0) return slot;
    this.#counts.push(new Uint8Array(SLAB));
    this.#uses.push(new Uint8Array(SLAB));
    this.#checkMemory(this.#bytes);
    return slot;
  }
}
