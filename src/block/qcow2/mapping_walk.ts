/**
 * Walks the L1 and L2 tables of an image, for checks and repairs.
 *
 * An image may refer to the same table as often as it likes: from many entries of an L1 table, and from many snapshots. Each
 * table is read once and told how often it counts, so that a walk takes time in proportion to the file.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { entryOffset } from "./entries.ts";
import { CHUNK, readBytes } from "./file_io.ts";
import { hasFeature, Incompatible, type Qcow2Header } from "./header.ts";
import { ReferenceCounts, Use } from "./reference_counts.ts";
import type { Effort } from "./walk_limits.ts";

/** What of a header shapes the tables. */
export interface Geometry {
  readonly clusterSize: number;
  readonly extendedL2: boolean;
  readonly externalData: boolean;
  /** Bit 0 of an L2 entry means that the cluster reads as zeroes. */
  readonly zeroFlag: boolean;
  /** Bytes. */
  readonly l2EntrySize: number;
  readonly l2Entries: number;
}

/** @param header A checked one. */
export function geometryOf({ version, clusterBits, incompatibleFeatures }: Qcow2Header): Geometry {
  const extendedL2 = hasFeature(incompatibleFeatures, Incompatible.EXTENDED_L2);
  const clusterSize = 2 ** clusterBits;
  const l2EntrySize = extendedL2 ? 16 : 8;
  return {
    clusterSize,
    extendedL2,
    externalData: hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE),
    zeroFlag: version === 3 && !extendedL2,
    l2EntrySize,
    l2Entries: clusterSize / l2EntrySize,
  };
}

/** A part of the file that is a table, or that several tables have in common. */
export interface TablePart {
  /** Byte offset. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** How many tables it belongs to. */
  readonly times: number;
}

/** Cuts ranges that may overlap into parts that do not; ordered by offset. */
export function splitOverlaps(ranges: readonly { readonly offset: number; readonly length: number }[]): TablePart[] {
  const edges = ranges.flatMap(({ offset, length }) => [{ at: offset, step: 1 }, { at: offset + length, step: -1 }]);
  edges.sort((a, b) => a.at - b.at);
  const parts: TablePart[] = [];
  let times = 0;
  let from = 0;
  for (const { at, step } of edges) {
    if (times > 0 && at > from) parts.push({ offset: from, length: at - from, times });
    from = at;
    times += step;
  }
  return parts;
}

/** An entry of an L1 table that is not zero. */
export interface L1Entry {
  /** Index in its part. */
  readonly index: number;
  readonly hi: number;
  readonly lo: number;
  /** Byte offset of the L2 table. */
  readonly offset: number;
  /** How many L1 tables have this very entry. */
  readonly times: number;
}

/** An L2 table as it was read. */
export interface L2Table {
  /** Byte offset. */
  readonly offset: number;
  /** Index of the first L1 entry that leads to it. */
  readonly l1Index: number;
  /** How many L1 entries lead to it. */
  readonly times: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
}

/** What a walk calls. */
export interface MappingVisitor {
  /** An L1 entry that is not zero. @returns whether its L2 table is to be visited: it lies in the file, on a cluster boundary. */
  entry(entry: L1Entry): boolean;
  /** An L2 table, once. */
  table(table: L2Table): Coroutine<void>;
  /** How far the walk is, 0 to 1. */
  progress?(fraction: number): void;
}

/**
 * Walks the L1 tables in `parts`, and the L2 tables that they lead to.
 *
 * @param effort Is spent on each entry.
 */
export function* walkMapping(
  file: HostFile,
  { clusterSize }: Geometry,
  parts: readonly TablePart[],
  visitor: MappingVisitor,
  effort: Effort,
): Coroutine<void> {
  const tables = new ReferenceCounts(effort.checkMemory);
  yield* walkL1(file, parts, effort, (entry) => {
    if (visitor.entry(entry)) tables.add(entry.offset / clusterSize, entry.times, Use.L2_TABLE);
  });
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  let before = 0;
  for (const part of parts) {
    const entries: L1Entry[] = [];
    for (let at = 0; at < part.length; at += CHUNK) {
      const length = Math.min(CHUNK, part.length - at);
      entries.length = 0;
      yield* walkL1(file, [{ ...part, offset: part.offset + at, length }], effort, (entry) => entries.push(entry));
      for (const entry of entries) {
        visitor.progress?.((before + at + entry.index * 8) / total);
        if (entry.offset % clusterSize !== 0) continue;
        const times = tables.take(entry.offset / clusterSize);
        if (times === 0) continue;
        effort.spendTable(clusterSize / 8);
        yield* visitor.table(yield* readL2(file, entry, at / 8 + entry.index, times, clusterSize));
      }
    }
    before += part.length;
  }
}

function* readL2(
  file: HostFile,
  { offset }: L1Entry,
  l1Index: number,
  times: number,
  clusterSize: number,
): Coroutine<L2Table> {
  const bytes = yield* readBytes(file, offset, clusterSize);
  return { offset, l1Index, times, bytes, view: new DataView(bytes.buffer) };
}

/** Reads L1 tables piece by piece. */
function* walkL1(
  file: HostFile,
  parts: readonly TablePart[],
  effort: Effort,
  visit: (entry: L1Entry) => void,
): Coroutine<void> {
  for (const { offset, length, times } of parts) {
    for (let at = 0; at < length; at += CHUNK) {
      effort.spend(Math.min(CHUNK, length - at) / 8);
      const view = new DataView((yield* readBytes(file, offset + at, Math.min(CHUNK, length - at))).buffer);
      for (let i = 0; i < view.byteLength; i += 8) {
        const hi = view.getUint32(i);
        const lo = view.getUint32(i + 4);
        if (hi !== 0 || lo !== 0) visit({ index: (at + i) / 8, hi, lo, offset: entryOffset(hi, lo), times });
      }
    }
  }
}
