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
import { offsetHi, offsetLo } from "./entries.ts";
import { resizeFile, syncFile, writeBytes, writeTable } from "./file_io.ts";
import { HeaderField, Limits, type Qcow2Header, setUint64 } from "./header.ts";
import { inspect, type Inspection } from "./inspection.ts";
import { ReferenceCounts, Use } from "./reference_counts.ts";

/** Where the new table and its blocks go. */
interface Layout {
  /** The first cluster of the table, which the blocks follow. */
  readonly start: number;
  readonly tableClusters: number;
  /** Indices of the blocks that there have to be, in order. */
  readonly blocks: readonly number[];
  /** The cluster behind the last block. */
  readonly end: number;
}

function layOut(inspection: Inspection): Layout {
  const { counts, geometry, stored } = inspection;
  const start = Math.max(counts.highest, lastOfOldRefcounts(inspection)) + 1;
  const { blocks, tableClusters } = place(counts, start, stored.perBlock, geometry.clusterSize);
  return { start, tableClusters, blocks, end: start + tableClusters + blocks.length };
}

/** Times that a walk goes further into what is behind the end of the file, and how much further each time. */
const MOST_WALKS = 6;
const FURTHER = 16;

/**
 * Walks an image without its refcounts, as far as new ones need room that nothing refers to: there may be entries that lead behind the
 * end of the file, and to the new refcounts if these were put there.
 *
 * @returns `undefined` if there are too many such entries.
 */
export function* inspectForFreshRefcounts(file: HostFile, header: Qcow2Header): Coroutine<Inspection | undefined> {
  let reach = file.size;
  for (let walk = 0; walk < MOST_WALKS; walk++) {
    const inspection = yield* inspect(file, header, { countRefcounts: false, end: reach });
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
  const { file, counts, geometry, stored } = inspection;
  const { clusterSize } = geometry;
  const { perBlock, codec } = stored;
  const { start, tableClusters, blocks, end } = layOut(inspection);
  if (tableClusters * clusterSize > Limits.MAX_REFCOUNT_TABLE) {
    throw new Error(`Cannot repair ${file.name}: its refcounts do not fit in a refcount table`);
  }
  for (let cluster = start; cluster < end; cluster++) counts.add(cluster, 1, Use.REFCOUNTS);
  yield* resizeFile(file, Math.max(file.size, end * clusterSize));
  const blockOffset = (index: number) => (start + tableClusters + index) * clusterSize;
  for (const [index, block] of blocks.entries()) {
    const bytes = new Uint8Array(clusterSize);
    for (let i = 0; i < perBlock; i++) {
      const references = Math.min(counts.count(block * perBlock + i), codec.max);
      if (references > 0) codec.set(bytes, i, references);
    }
    yield* writeBytes(file, blockOffset(index), bytes);
  }
  const indices = new Map(blocks.map((block, index) => [block, index]));
  yield* writeTable(file, start * clusterSize, tableClusters * clusterSize / 8, (view, at, block) => {
    const index = indices.get(block);
    if (index === undefined) return;
    view.setUint32(at, offsetHi(blockOffset(index)));
    view.setUint32(at + 4, offsetLo(blockOffset(index)));
  });
  yield* syncFile(file);
  yield* pointHeaderAt(inspection, start * clusterSize, tableClusters);
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

/** Which blocks there have to be, and how long the table is that reaches them and the blocks themselves. */
function place(counts: ReferenceCounts, start: number, perBlock: number, clusterSize: number) {
  const needed = counts.blocks(perBlock);
  let tableClusters = 1;
  for (;;) {
    // The blocks from `start` on cover themselves and the table. Each step adds few clusters: the sums converge.
    const blocks = new Set(needed);
    const first = Math.floor(start / perBlock);
    let last = first;
    do {
      blocks.add(last);
      last++;
    } while (last * perBlock < start + tableClusters + blocks.size);
    const length = Math.ceil(last * 8 / clusterSize);
    if (length === tableClusters) return { blocks: [...blocks].sort((a, b) => a - b), tableClusters };
    tableClusters = length;
  }
}

function* pointHeaderAt({ file }: Inspection, offset: number, clusters: number): Coroutine<void> {
  // Both fields lie in one sector, which storage writes as a whole.
  const fields = new DataView(new ArrayBuffer(12));
  setUint64(fields, 0, offset);
  fields.setUint32(8, clusters);
  yield* writeBytes(file, HeaderField.REFCOUNT_TABLE_OFFSET, new Uint8Array(fields.buffer));
  yield* syncFile(file);
}
