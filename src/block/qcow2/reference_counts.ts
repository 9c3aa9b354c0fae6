/**
 * How often the tables of an image refer to each of its clusters, and as what.
 *
 * Memory goes with the parts of the file that are referred to, not with the file's size: files are sparse.
 *
 * @module
 */

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

/** Clusters per page, the unit in which memory is taken. */
export const PAGE_CLUSTERS = 256;

/** Pages per slab: few large arrays instead of many small ones. Only the first one grows up to that: most images are small. */
const SLAB_PAGES = 256;
const SLAB = PAGE_CLUSTERS * SLAB_PAGES;

/** Stands in a slab for a count that does not fit and is in a map. */
const LARGE = 0xffff;

/** Counts by cluster index. */
export class ReferenceCounts {
  readonly #slots = new Map<number, number>();
  readonly #counts: Uint16Array[] = [];
  readonly #uses: Uint8Array[] = [];
  readonly #large = new Map<number, number>();
  #highest = -1;

  /** The highest cluster that is referred to; -1 where none is. */
  get highest(): number {
    return this.#highest;
  }

  /** Counts `times` references more. */
  add(cluster: number, times: number, use: number): void {
    const at = this.#place(cluster);
    const slab = Math.floor(at / SLAB);
    const counts = this.#counts[slab];
    const sum = this.#value(counts[at % SLAB], cluster) + times;
    if (sum >= LARGE) this.#large.set(cluster, sum);
    counts[at % SLAB] = Math.min(sum, LARGE);
    this.#uses[slab][at % SLAB] |= use;
    if (cluster > this.#highest) this.#highest = cluster;
  }

  /** References to a cluster. */
  count(cluster: number): number {
    const slot = this.#slots.get(Math.floor(cluster / PAGE_CLUSTERS));
    if (slot === undefined) return 0;
    const at = slot + cluster % PAGE_CLUSTERS;
    return this.#value(this.#counts[Math.floor(at / SLAB)][at % SLAB], cluster);
  }

  /** Forgets the references to a cluster. @returns how many there were. */
  take(cluster: number): number {
    const count = this.count(cluster);
    if (count === 0) return 0;
    const at = this.#place(cluster);
    this.#counts[Math.floor(at / SLAB)][at % SLAB] = 0;
    this.#large.delete(cluster);
    return count;
  }

  /** Bits of {@linkcode Use}. */
  uses(cluster: number): number {
    const slot = this.#slots.get(Math.floor(cluster / PAGE_CLUSTERS));
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

  /** Which of the blocks of `size` clusters each have references in them. */
  blocks(size: number): Set<number> {
    const blocks = new Set<number>();
    for (const page of this.pages()) {
      for (let cluster = page * PAGE_CLUSTERS; cluster < (page + 1) * PAGE_CLUSTERS; cluster++) {
        if (this.count(cluster) > 0) blocks.add(Math.floor(cluster / size));
      }
    }
    return blocks;
  }

  /** Indices of the pages with references in them, {@linkcode PAGE_CLUSTERS} clusters each; in no order. */
  pages(): IterableIterator<number> {
    return this.#slots.keys();
  }

  #value(stored: number, cluster: number): number {
    return stored === LARGE ? this.#large.get(cluster)! : stored;
  }

  /** Where a cluster's count is, over all slabs. */
  #place(cluster: number): number {
    const page = Math.floor(cluster / PAGE_CLUSTERS);
    let slot = this.#slots.get(page);
    if (slot === undefined) {
      slot = this.#slots.size * PAGE_CLUSTERS;
      this.#slots.set(page, slot);
      this.#reserve(slot);
    }
    return slot + cluster % PAGE_CLUSTERS;
  }

  /** Makes room for the page at a slot that follows all others. */
  #reserve(slot: number): void {
    const slab = Math.floor(slot / SLAB);
    const [counts, uses] = [this.#counts[slab], this.#uses[slab]];
    const length = counts?.length ?? 0;
    if (slot % SLAB < length) return;
    const wanted = slab > 0 ? SLAB : Math.max(PAGE_CLUSTERS, 2 * length);
    this.#counts[slab] = new Uint16Array(wanted);
    this.#uses[slab] = new Uint8Array(wanted);
    if (length === 0) return;
    this.#counts[slab].set(counts);
    this.#uses[slab].set(uses);
  }
}
