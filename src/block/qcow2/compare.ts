/**
 * Compares the refcounts that an image has with the references that were counted in it.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import { syncFile, writeBytes } from "./file_io.ts";
import { type Inspection, WALK_SHARE } from "./inspection.ts";
import { PAGE_CLUSTERS } from "./reference_counts.ts";

/**
 * Is given a cluster that has a refcount or is referred to.
 *
 * @param refcount `undefined` where the refcount table makes no sense.
 * @param references At most what the width of refcounts can hold.
 * @param hasBlock Whether there is a refcount block to hold the refcount.
 * @returns the refcount that the cluster is to get, or `undefined` to leave it.
 */
export type ClusterVisitor = (
  cluster: number,
  refcount: number | undefined,
  references: number,
  hasBlock: boolean,
) => number | undefined;

/**
 * Visits every cluster that has a refcount, up to the end of the file, or is referred to; in ascending order.
 *
 * Refcounts of zero that nothing refers to are passed over quickly: an image of a few megabytes can have billions of them.
 */
export function* compareRefcounts(inspection: Inspection, visit: ClusterVisitor): Coroutine<void> {
  const { file, counts, stored, effort, options } = inspection;
  const comparison = new Comparison(inspection, visit);
  const pages = counts.pages();
  const pagesPerBlock = stored.perBlock / PAGE_CLUSTERS;
  const blocks = Math.ceil(comparison.end / stored.perBlock);
  for (let next = 0, index = 0;; index++) {
    // The next block that there is, or that a page would belong to.
    const ofPage = next < pages.length ? Math.floor(pages[next] / pagesPerBlock) : blocks;
    const last = Math.min(ofPage, blocks, stored.blocks);
    while (index < last && !stored.hasBlock(index)) index++;
    if (index >= last) index = ofPage;
    if (index >= blocks) return;
    const first = next;
    while (next < pages.length && pages[next] < (index + 1) * pagesPerBlock) next++;
    options.progress?.(WALK_SHARE + (1 - WALK_SHARE) * index / blocks);
    const known = stored.peek(index);
    const block = known === undefined ? yield* stored.block(index) : known;
    comparison.enter(index, block);
    if (block === null) {
      // A repair would have to make it.
      effort.spendTable(0);
      comparison.comparePages(pages, first, next);
    } else if (comparison.compareAll(pages, first)) {
      yield* writeBytes(file, stored.entry(index).offset, block);
    }
  }
}

/** Compares the refcounts of one block after the other with the references to its clusters. */
class Comparison {
  /** The cluster behind the last that is looked at. */
  readonly end: number;
  readonly #inspection: Inspection;
  readonly #visit: ClusterVisitor;
  readonly #references = new Float64Array(PAGE_CLUSTERS);
  #block: Uint8Array | null = null;
  /** The refcount of clusters without a block. */
  #absent: number | undefined;
  /** The block's first cluster. */
  #first = 0;
  #changed = false;

  constructor(inspection: Inspection, visit: ClusterVisitor) {
    this.end = Math.max(inspection.clusters, inspection.counts.highest + 1);
    this.#inspection = inspection;
    this.#visit = visit;
  }

  /** Goes to a block. @param block `null` where there is none. */
  enter(index: number, block: Uint8Array | null): void {
    const { stored } = this.#inspection;
    this.#block = block;
    this.#absent = stored.isUnknown(index) ? undefined : 0;
    this.#first = index * stored.perBlock;
    this.#changed = false;
  }

  /** Compares those pages in a list that lie between two of its indices. */
  comparePages(pages: Float64Array, first: number, end: number): void {
    for (let i = first; i < end; i++) this.#compare(pages[i]);
  }

  /**
   * Compares all pages of the block.
   *
   * @param pages The pages that are referred to; those of this block begin at index `next`.
   * @returns whether refcounts were changed.
   */
  compareAll(pages: Float64Array, next: number): boolean {
    const end = Math.min(this.end, this.#first + this.#inspection.stored.perBlock);
    for (let page = this.#first / PAGE_CLUSTERS, at = next; page * PAGE_CLUSTERS < end; page++) {
      const isReferred = pages[at] === page;
      if (isReferred) at++;
      if (isReferred || !this.#isEmpty(page)) this.#compare(page);
    }
    return this.#changed;
  }

  /** Whether all refcounts of a page are zero. */
  #isEmpty(page: number): boolean {
    const { clusterSize, perBlock } = this.#inspection.stored;
    const bytes = clusterSize / perBlock * PAGE_CLUSTERS;
    const start = (page - this.#first / PAGE_CLUSTERS) * bytes;
    for (let at = start; at < start + bytes; at++) if (this.#block![at] !== 0) return false;
    return true;
  }

  #compare(page: number): void {
    const { stored: { codec }, counts, effort } = this.#inspection;
    const block = this.#block;
    effort.spend(PAGE_CLUSTERS);
    counts.read(page, this.#references);
    const count = Math.min(PAGE_CLUSTERS, this.end - page * PAGE_CLUSTERS);
    for (let i = 0; i < count; i++) {
      const cluster = page * PAGE_CLUSTERS + i;
      const refcount = block === null ? this.#absent : codec.get(block, cluster - this.#first);
      const references = Math.min(this.#references[i], codec.max);
      if (references === 0 && (refcount === 0 || refcount === undefined)) continue;
      const wanted = this.#visit(cluster, refcount, references, block !== null);
      if (wanted === undefined || block === null) continue;
      codec.set(block, cluster - this.#first, wanted);
      this.#changed = true;
    }
  }
}

/** Rows of freed clusters whose space is given back to the host; what is beyond stays allocated there. */
const MOST_ROWS = 65536;

/** Sets refcounts that are too low, or too high, to the references that were counted. @returns how many. */
export function* adjustRefcounts(inspection: Inspection, direction: "up" | "down"): Coroutine<number> {
  const { file, geometry } = inspection;
  const freed: { first: number; end: number }[] = [];
  let changed = 0;
  yield* compareRefcounts(inspection, (cluster, refcount, references) => {
    if (refcount === undefined || refcount === references) return undefined;
    if ((references > refcount) !== (direction === "up")) return undefined;
    changed++;
    const row = freed.at(-1);
    if (references === 0 && row?.end === cluster) row.end++;
    else if (references === 0 && freed.length < MOST_ROWS) freed.push({ first: cluster, end: cluster + 1 });
    return references;
  });
  const beyond = direction === "down" && (yield* clearBeyondEnd(inspection));
  if (changed > 0 || beyond) yield* syncFile(file);
  for (const { first, end } of freed) {
    const offset = first * geometry.clusterSize;
    const length = Math.min(end * geometry.clusterSize, file.size) - offset;
    if (length > 0) yield* waitFor((done) => file.discard(offset, length, done));
  }
  return changed;
}

/** Clears the refcounts of clusters that the file does not reach; they are no leaks before it does. @returns whether there were any. */
function* clearBeyondEnd({ file, counts, stored, clusters }: Inspection): Coroutine<boolean> {
  const end = Math.max(clusters, counts.highest + 1);
  const { perBlock } = stored;
  let changed = false;
  for (let index = Math.floor(end / perBlock); index < stored.blocks; index++) {
    const block = yield* stored.block(index);
    if (block === null) continue;
    let stale = false;
    for (let i = Math.max(0, end - index * perBlock); i < perBlock; i++) {
      if (stored.codec.get(block, i) === 0) continue;
      stored.codec.set(block, i, 0);
      stale = true;
    }
    if (stale) yield* writeBytes(file, stored.entry(index).offset, block);
    changed ||= stale;
  }
  return changed;
}
