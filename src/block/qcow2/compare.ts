/**
 * Compares the refcounts that an image has with the references that were counted in it.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import { syncFile, writeBytes } from "./file_io.ts";
import { type Inspection, WALK_SHARE } from "./inspection.ts";
import { PAGE_CLUSTERS } from "./reference_counts.ts";

/** A cluster, the refcount that it has and the references to it. */
export interface ClusterCounts {
  readonly cluster: number;
  /** `undefined` where the refcount table makes no sense. */
  readonly refcount: number | undefined;
  /** At most what the width of refcounts can hold. */
  readonly references: number;
  /** Whether there is a refcount block to hold the refcount. */
  readonly hasBlock: boolean;
}

/**
 * Visits every cluster of the file that is referred to or has a refcount block, in order.
 *
 * @param visit Returns the refcount that the cluster is to get, or `undefined` to leave it.
 */
export function* compareRefcounts(
  { file, counts, stored, clusters, options }: Inspection,
  visit: (counts: ClusterCounts) => number | undefined,
): Coroutine<void> {
  const { perBlock, codec } = stored;
  const end = Math.max(clusters, counts.highest + 1);
  const pages = pagesToCompare(counts.pages(), stored, end);
  for (const [done, page] of pages.entries()) {
    if (done % 256 === 0) options.progress?.(WALK_SHARE + (1 - WALK_SHARE) * done / pages.length);
    const pageEnd = Math.min(end, (page + 1) * PAGE_CLUSTERS);
    for (let cluster = page * PAGE_CLUSTERS; cluster < pageEnd;) {
      const index = Math.floor(cluster / perBlock);
      const block = yield* stored.block(index);
      const unknown = stored.isUnknown(index);
      const blockEnd = Math.min(pageEnd, (index + 1) * perBlock);
      let changed = false;
      for (; cluster < blockEnd; cluster++) {
        const refcount = block === null ? (unknown ? undefined : 0) : codec.get(block, cluster % perBlock);
        const references = Math.min(counts.count(cluster), codec.max);
        const wanted = visit({ cluster, refcount, references, hasBlock: block !== null });
        if (wanted === undefined || block === null) continue;
        codec.set(block, cluster % perBlock, wanted);
        changed = true;
      }
      if (changed && block !== null) yield* writeBytes(file, stored.entry(index).offset, block);
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
  yield* compareRefcounts(inspection, ({ cluster, refcount, references }) => {
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

/** The pages of counts that have something in them, or that refcount blocks cover; ascending. */
function pagesToCompare(counted: Iterable<number>, stored: Inspection["stored"], end: number): Float64Array {
  const pages = new Set(counted);
  for (let block = 0; block < stored.blocks && block * stored.perBlock < end; block++) {
    if (!stored.hasBlock(block)) continue;
    const last = Math.floor((Math.min(end, (block + 1) * stored.perBlock) - 1) / PAGE_CLUSTERS);
    for (let page = Math.floor(block * stored.perBlock / PAGE_CLUSTERS); page <= last; page++) pages.add(page);
  }
  return Float64Array.from(pages).sort();
}
