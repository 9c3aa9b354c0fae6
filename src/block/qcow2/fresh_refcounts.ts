/**
 * A new refcount table for an image whose own is of no use.
 *
 * The new table and its blocks go behind everything that is in use, by the references and by the old table. The header is pointed
 * at them when they are on stable storage: a crash leaves the image with the old table or with the new one.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { CHUNK, resizeFile, syncFile, writeBytes, writeTable } from "./file_io.ts";
import { HeaderField, Limits, type Qcow2Header, setUint64 } from "./header.ts";
import { inspect, type Inspection } from "./inspection.ts";
import { PAGE_CLUSTERS, type ReferenceCounts, Use } from "./reference_counts.ts";
import type { Effort } from "./walk_limits.ts";

/** Where the new table and its blocks go. */
interface Layout {
  /** The first cluster of the table, which the blocks follow. */
  readonly start: number;
  readonly tableClusters: number;
  /** Indices of the blocks that there have to be, ascending. */
  readonly blocks: Float64Array;
  /** The cluster behind the last block. */
  readonly end: number;
}

/** @throws {Error} when the image is too large for a refcount table. */
function layOut(inspection: Inspection): Layout {
  const { file, counts, geometry: { clusterSize }, stored: { perBlock } } = inspection;
  const start = Math.max(counts.highest, lastOfOldRefcounts(inspection)) + 1;
  const needed = referredBlocks(counts, perBlock);
  let tableClusters = 1;
  for (;;) {
    // The blocks from `first` on cover themselves and the table. Each step adds few clusters: the sums converge.
    const first = Math.floor(start / perBlock);
    const before = needed.length - (needed.at(-1) === first ? 1 : 0);
    let last = first;
    do last++; while (last * perBlock < start + tableClusters + before + last - first);
    if (last * 8 > Limits.MAX_REFCOUNT_TABLE) {
      throw new Error(`Cannot repair ${file.name}: its refcounts do not fit in a refcount table`);
    }
    const length = Math.ceil(last * 8 / clusterSize);
    if (length === tableClusters) {
      const blocks = new Float64Array(before + last - first);
      blocks.set(needed.subarray(0, before));
      for (let i = before; i < blocks.length; i++) blocks[i] = first + i - before;
      return { start, tableClusters, blocks, end: start + tableClusters + blocks.length };
    }
    tableClusters = length;
  }
}

/** Which blocks have references in them, ascending. */
function referredBlocks(counts: ReferenceCounts, perBlock: number): Float64Array {
  const blocks = counts.pages();
  let count = 0;
  for (const page of blocks) {
    const block = Math.floor(page * PAGE_CLUSTERS / perBlock);
    if (count === 0 || blocks[count - 1] !== block) blocks[count++] = block;
  }
  return blocks.slice(0, count);
}

/** Times that a walk goes further into what is behind the end of the file, and how much further each time. */
const MOST_WALKS = 6;
const FURTHER = 16;

/**
 * Walks an image without its refcounts, as far as new ones need room that nothing refers to: there may be entries that lead behind the
 * end of the file, and to the new refcounts if these were put there.
 *
 * @returns `undefined` if there are too many such entries.
 * @throws {Error} when the image is too large for a refcount table.
 */
export function* inspectForFreshRefcounts(
  file: HostFile,
  header: Qcow2Header,
  effort: Effort,
): Coroutine<Inspection | undefined> {
  let reach = file.size;
  for (let walk = 0; walk < MOST_WALKS; walk++) {
    const inspection = yield* inspect(file, header, { countRefcounts: false, end: reach, effort });
    const end = layOut(inspection).end * inspection.geometry.clusterSize;
    if (end <= Math.max(reach, inspection.nearestBeyond)) return inspection;
    reach = file.size + FURTHER * (end - file.size);
  }
  return undefined;
}

/**
 * Writes the refcounts of an image anew.
 *
 * @param inspection A walk in which the old refcount table did not count. The new one is counted in it.
 * @throws {Error} when the image is too large for a refcount table.
 */
export function* writeFreshRefcounts(inspection: Inspection): Coroutine<void> {
  const { file, counts, geometry: { clusterSize } } = inspection;
  const { start, tableClusters, blocks, end } = layOut(inspection);
  for (let cluster = start; cluster < end; cluster++) counts.add(cluster, 1, Use.REFCOUNTS);
  yield* resizeFile(file, Math.max(file.size, end * clusterSize));
  const firstBlock = (start + tableClusters) * clusterSize;
  yield* writeBlocks(inspection, blocks, firstBlock);
  let index = 0;
  yield* writeTable(file, start * clusterSize, tableClusters * clusterSize / 8, (view, at, block) => {
    if (blocks[index] !== block) return;
    setUint64(view, at, firstBlock + index * clusterSize);
    index++;
  });
  yield* syncFile(file);
  yield* pointHeaderAt(inspection, start * clusterSize, tableClusters);
}

/** Writes refcount blocks one behind the other, many at once. */
function* writeBlocks({ file, counts, stored }: Inspection, blocks: Float64Array, offset: number): Coroutine<void> {
  const { perBlock, codec, clusterSize } = stored;
  const most = Math.max(1, CHUNK / clusterSize);
  for (let first = 0; first < blocks.length; first += most) {
    const row = blocks.subarray(first, first + most);
    const bytes = new Uint8Array(row.length * clusterSize);
    for (const [place, block] of row.entries()) {
      const entries = bytes.subarray(place * clusterSize, (place + 1) * clusterSize);
      for (let i = 0; i < perBlock; i++) {
        const references = Math.min(counts.count(block * perBlock + i), codec.max);
        if (references > 0) codec.set(entries, i, references);
      }
    }
    yield* writeBytes(file, offset + first * clusterSize, bytes);
  }
}

/** The last cluster that the old table takes, or a block that it leads to. */
export function lastOfOldRefcounts({ stored, header, geometry }: Inspection): number {
  let last = header.refcountTableOffset / geometry.clusterSize + header.refcountTableClusters - 1;
  for (let block = 0; block < stored.blocks; block++) {
    const { offset, inFile } = stored.entry(block);
    if (inFile) last = Math.max(last, Math.floor(offset / geometry.clusterSize));
  }
  return last;
}

function* pointHeaderAt({ file }: Inspection, offset: number, clusters: number): Coroutine<void> {
  // Both fields lie in one sector, which storage writes as a whole.
  const fields = new DataView(new ArrayBuffer(12));
  setUint64(fields, 0, offset);
  fields.setUint32(8, clusters);
  yield* writeBytes(file, HeaderField.REFCOUNT_TABLE_OFFSET, new Uint8Array(fields.buffer));
  yield* syncFile(file);
}
