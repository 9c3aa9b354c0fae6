/**
 * Counts what refers to each cluster of an image, by walking everything that can refer to one, and finds entries that make no
 * sense on the way.
 *
 * What is counted as an error follows `qemu-img check`, so that both give the same numbers. It finds more than QEMU does in
 * that it knows what each cluster is used as: see {@linkcode ReferenceCounts.conflict}.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { readBitmapEntries } from "./bitmaps.ts";
import { COPIED, entryOffset, hasReservedL1Bits } from "./entries.ts";
import { CHUNK, readBytes } from "./file_io.ts";
import { Findings, hex64 } from "./findings.ts";
import { Autoclear, hasFeature, type Qcow2Header } from "./header.ts";
import { L2Inspector } from "./l2_inspection.ts";
import { type Geometry, geometryOf, type L1Entry, splitOverlaps, type TablePart, walkMapping } from "./mapping_walk.ts";
import { ReferenceCounts, Use } from "./reference_counts.ts";
import { readSnapshotTable, type Snapshot, snapshotProblem } from "./snapshots.ts";
import { StoredRefcounts } from "./stored_refcounts.ts";
import { Effort } from "./walk_limits.ts";

/** How an image is walked. */
export interface InspectionOptions {
  /** Is given each finding, in one line. */
  readonly report?: (line: string) => void;
  /** Is told how far the work is, 0 to 1. */
  readonly progress?: (fraction: number) => void;
  /** Whether the refcount table and its blocks count as references to where they are. @default {true} */
  readonly countRefcounts?: boolean;
  /** Up to where in the file references are counted, in bytes; beyond, they are errors. @default {the size of the file} */
  readonly end?: number;
  /** What the walk may cost, and has. @default {within `OFFLINE_LIMITS`} */
  readonly effort?: Effort;
}

/** Guest clusters, by how they are stored. */
export interface AllocationCounts {
  allocated: number;
  fragmented: number;
  compressed: number;
}

/** What is known of an image after a walk. */
export class Inspection {
  readonly geometry: Geometry;
  readonly effort: Effort;
  readonly counts: ReferenceCounts;
  readonly findings: Findings;
  readonly allocation: AllocationCounts = { allocated: 0, fragmented: 0, compressed: 0 };
  /** Whether there are tables that could not be followed, so that clusters may be in use without being counted. */
  incomplete = false;
  /** Whether there are entries that lead nowhere, or to a place that makes no sense: where their data are is not known. */
  lostEntries = false;
  /** Corruptions that are wrong copied flags, and nothing else. */
  wrongCopiedFlags = 0;
  /** The lowest byte that is referred to beyond the end of what is counted. */
  nearestBeyond = Infinity;
  /** Whether the refcount table is of no use, so that it has to be built anew. */
  brokenRefcounts = false;

  constructor(
    readonly file: HostFile,
    readonly header: Qcow2Header,
    readonly stored: StoredRefcounts,
    readonly options: InspectionOptions,
  ) {
    this.geometry = geometryOf(header);
    this.findings = new Findings(options.report);
    this.effort = stored.effort;
    this.counts = new ReferenceCounts(this.effort.checkMemory);
  }

  /** Clusters of the file, the last one perhaps in part. */
  get clusters(): number {
    return Math.ceil(this.file.size / this.geometry.clusterSize);
  }

  /**
   * Counts references to a range of bytes. The last cluster of the file need not be there as a whole.
   *
   * @returns whether the range lies in the file.
   */
  use(offset: number, length: number, times: number, use: number): boolean {
    const { clusterSize } = this.geometry;
    if (length <= 0) return true;
    if (offset + length - (this.options.end ?? this.file.size) >= clusterSize) {
      this.nearestBeyond = Math.min(this.nearestBeyond, offset);
      this.findings.corruption(
        `${length} bytes at 0x${offset.toString(16)} are referred to beyond the end of the file`,
        times,
      );
      return false;
    }
    const last = Math.floor((offset + length - 1) / clusterSize);
    for (let cluster = Math.floor(offset / clusterSize); cluster <= last; cluster++) {
      this.counts.add(cluster, times, use);
    }
    return true;
  }
}

/** The share of the work up to which progress goes while the tables are walked; the rest is comparing refcounts. */
export const WALK_SHARE = 0.8;

/**
 * Walks an image.
 *
 * @throws {TooLargeError} when that takes more than it may.
 * @throws {Error} when the file cannot be read.
 */
export function* inspect(file: HostFile, header: Qcow2Header, options: InspectionOptions = {}): Coroutine<Inspection> {
  const stored = yield* StoredRefcounts.read(file, header, options.effort ?? new Effort(file.name));
  const inspection = new Inspection(file, header, stored, options);
  const snapshots = yield* inspectSnapshotTable(inspection);
  const { clusterSize } = inspection.geometry;
  inspection.use(0, clusterSize, 1, Use.HEADER);
  const active = { offset: header.l1TableOffset, length: header.l1Size * 8, times: 1 };
  yield* inspectMapping(inspection, active.length > 0 ? [active] : [], true);
  yield* inspectCopiedFlags(inspection, active);
  yield* inspectMapping(inspection, splitOverlaps(snapshots.map(l1Range)), false);
  countTables(inspection, [active], Use.L1_TABLE);
  countTables(inspection, snapshots.map(l1Range), Use.L1_TABLE);
  yield* inspectBitmaps(inspection);
  if (options.countRefcounts ?? true) inspectRefcountTable(inspection);
  return inspection;
}

function l1Range({ l1TableOffset, l1Size }: Snapshot) {
  return { offset: l1TableOffset, length: l1Size * 8 };
}

/** Counts the clusters of tables that may lie over each other. */
function countTables(
  inspection: Inspection,
  ranges: readonly { readonly offset: number; readonly length: number }[],
  use: number,
): void {
  const { clusterSize } = inspection.geometry;
  const clusters = ranges.filter(({ length }) => length > 0).map(({ offset, length }) => {
    const first = Math.floor(offset / clusterSize);
    return { offset: first, length: Math.ceil((offset + length) / clusterSize) - first };
  });
  for (const { offset, length, times } of splitOverlaps(clusters)) {
    for (let cluster = offset; cluster < offset + length; cluster++) inspection.counts.add(cluster, times, use);
  }
}

/** @returns the snapshots whose L1 tables can be walked. */
function* inspectSnapshotTable(inspection: Inspection): Coroutine<Snapshot[]> {
  const { file, header, findings, geometry } = inspection;
  if (header.snapshotCount === 0) return [];
  let table;
  try {
    table = yield* readSnapshotTable(file, header);
  } catch (error) {
    findings.corruption(messageOf(error));
    inspection.incomplete = true;
    return [];
  }
  inspection.use(header.snapshotsOffset, table.size, 1, Use.SNAPSHOTS);
  return table.snapshots.filter((snapshot, index) => {
    if (header.version === 3 && snapshot.diskSize === undefined) {
      findings.corruption(`snapshot ${index}: its entry lacks the disk size, which version 3 demands`);
    }
    const problem = snapshotProblem(
      snapshot,
      header,
      Math.ceil(file.size / geometry.clusterSize) * geometry.clusterSize,
    );
    if (problem === undefined) return true;
    findings.corruption(`snapshot ${index}: ${problem}`);
    inspection.incomplete = true;
    return false;
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function* inspectMapping(inspection: Inspection, parts: readonly TablePart[], active: boolean): Coroutine<void> {
  const l2 = new L2Inspector(inspection, active);
  const { progress } = inspection.options;
  const share = active ? [0, WALK_SHARE / 2] : [WALK_SHARE / 2, WALK_SHARE / 2];
  yield* walkMapping(inspection.file, inspection.geometry, parts, {
    entry: (entry) => inspectL1Entry(inspection, entry),
    *table(table) {
      yield* l2.inspect(table);
    },
    progress: (fraction) => progress?.(share[0] + fraction * share[1]),
  }, inspection.effort);
}

/** The copied flag of an L1 entry tells that the refcount of its L2 table is one. */
function* inspectCopiedFlags(inspection: Inspection, { offset, length }: TablePart): Coroutine<void> {
  const { file, findings, geometry, stored } = inspection;
  for (let at = 0; at < length; at += CHUNK) {
    const view = new DataView((yield* readBytes(file, offset + at, Math.min(CHUNK, length - at))).buffer);
    for (let i = 0; i < view.byteLength; i += 8) {
      const hi = view.getUint32(i);
      const lo = view.getUint32(i + 4);
      if (entryOffset(hi, lo) === 0) continue;
      const refcount = yield* stored.get(Math.floor(entryOffset(hi, lo) / geometry.clusterSize));
      if (refcount === undefined || (refcount === 1) === ((hi & COPIED) !== 0)) continue;
      inspection.wrongCopiedFlags++;
      findings.wrongRefcount(`L1 entry ${hex64(hi, lo)} has a wrong copied flag: its table's refcount is ${refcount}`);
    }
  }
}

function inspectL1Entry(inspection: Inspection, { hi, lo, offset, times }: L1Entry): boolean {
  const { findings, geometry } = inspection;
  if (hasReservedL1Bits(hi, lo)) findings.corruption(`L1 entry ${hex64(hi, lo)} has reserved bits set`, times);
  if (offset === 0) {
    // It is not zero: something is left of an entry that led to a table.
    inspection.incomplete = true;
    if ((hi & COPIED) !== 0) {
      findings.corruption(`L1 entry ${hex64(hi, lo)} has the copied flag, but no L2 table`, times);
    }
    return false;
  }
  const inFile = inspection.use(offset, geometry.clusterSize, times, Use.L2_TABLE);
  const aligned = offset % geometry.clusterSize === 0;
  // A table that is not where clusters are is not walked: there could be thousands in the place of each.
  if (!aligned) findings.corruption(`L1 entry ${hex64(hi, lo)}: its L2 table is not on a cluster boundary`, times);
  if (!inFile || !aligned) inspection.incomplete = true;
  return inFile && aligned;
}

function* inspectBitmaps(inspection: Inspection): Coroutine<void> {
  const { file, header, findings, geometry } = inspection;
  if (!hasFeature(header.autoclearFeatures, Autoclear.BITMAPS) || header.bitmaps === undefined) return;
  const { directoryOffset, directorySize } = header.bitmaps;
  let bitmaps;
  try {
    bitmaps = yield* readBitmapEntries(file, header);
  } catch (error) {
    findings.corruption(messageOf(error));
    inspection.incomplete = true;
    return;
  }
  inspection.use(directoryOffset, directorySize, 1, Use.BITMAPS);
  const tables = bitmaps.map(({ tableOffset, tableSize }) => ({ offset: tableOffset, length: tableSize * 8 }))
    .filter(({ offset, length }, index) => {
      if (offset % geometry.clusterSize === 0 && offset + length - file.size < geometry.clusterSize) return true;
      findings.corruption(
        `bitmap ${index}: bitmap_table_offset 0x${offset.toString(16)} is not in the file, on a cluster boundary`,
      );
      inspection.incomplete = true;
      return false;
    });
  countTables(inspection, tables, Use.BITMAPS);
  for (const part of splitOverlaps(tables)) yield* inspectBitmapTable(inspection, part);
}

function* inspectBitmapTable(inspection: Inspection, { offset, length, times }: TablePart): Coroutine<void> {
  const { file, findings, geometry, effort } = inspection;
  for (let at = 0; at < length; at += CHUNK) {
    const view = new DataView((yield* readBytes(file, offset + at, Math.min(CHUNK, length - at))).buffer);
    effort.spend(view.byteLength / 8);
    for (let i = 0; i < view.byteLength; i += 8) {
      const hi = view.getUint32(i);
      const lo = view.getUint32(i + 4);
      const data = entryOffset(hi, lo);
      const reserved = (hi & 0xff000000) !== 0 || (lo & (data === 0 ? 0x1fe : 0x1ff)) !== 0;
      if (reserved || data % geometry.clusterSize !== 0) {
        findings.corruption(`bitmap table entry ${hex64(hi, lo)} has reserved bits set`, times);
        inspection.incomplete = true;
      } else if (data !== 0) {
        if (!inspection.use(data, geometry.clusterSize, times, Use.BITMAPS)) inspection.incomplete = true;
      }
    }
  }
}

/** Counts the refcount table and the blocks that it leads to. Runs last: a block has its cluster for itself. */
function inspectRefcountTable(inspection: Inspection): void {
  const { header, stored, findings, counts, geometry } = inspection;
  inspection.use(header.refcountTableOffset, stored.blocks * 8, 1, Use.REFCOUNTS);
  const broken = (problem: string) => {
    findings.wrongRefcount(problem);
    inspection.brokenRefcounts = true;
  };
  for (let block = 0; block < stored.blocks; block++) {
    const { offset, reserved, aligned, inFile } = stored.entry(block);
    if (reserved) broken(`refcount table entry ${block} has reserved bits set`);
    else if (!aligned) broken(`refcount block ${block} at 0x${offset.toString(16)} is not on a cluster boundary`);
    else if (!inFile) broken(`refcount block ${block} at 0x${offset.toString(16)} is beyond the end of the file`);
    else if (offset !== 0) {
      inspection.use(offset, geometry.clusterSize, 1, Use.REFCOUNTS);
      const references = counts.count(offset / geometry.clusterSize);
      if (references !== 1) {
        broken(`refcount block ${block} at 0x${offset.toString(16)} is referred to ${references} times`);
      }
    }
  }
}
