/**
 * Repairs entries of L1 and L2 tables, where it is clear what they should be.
 *
 * A table is written only where nothing else lies over it.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import { COMPRESSED, COPIED, entryOffset, ZERO } from "./entries.ts";
import { readBytes, syncFile, writeBytes } from "./file_io.ts";
import type { Qcow2Header } from "./header.ts";
import type { Inspection } from "./inspection.ts";
import { type L2Table, splitOverlaps, type TablePart, walkMapping } from "./mapping_walk.ts";
import { readSnapshotTable } from "./snapshots.ts";

/** Changes the entry at a byte of a table. @returns whether it did. */
type EntryRepair = (view: DataView, at: number) => Coroutine<boolean>;

/**
 * Takes places off entries that need none and have an impossible one, and the allocation off subclusters that read as zeroes.
 *
 * @returns how many entries were changed.
 */
export function* repairEntries(inspection: Inspection): Coroutine<number> {
  const { header, geometry } = inspection;
  const tables = [activeL1(header), ...yield* snapshotL1Tables(inspection)].filter(({ length }) => length > 0);
  return yield* rewriteL2Tables(inspection, splitOverlaps(tables), function* (view, at) {
    const hi = view.getUint32(at);
    const lo = view.getUint32(at + 4);
    if ((hi & COMPRESSED) !== 0 || entryOffset(hi, lo) === 0) return false;
    const { extendedL2, zeroFlag, clusterSize } = geometry;
    const zeroes = extendedL2 ? view.getUint32(at + 8) : 0;
    const allocated = extendedL2 ? view.getUint32(at + 12) : 0;
    const contradiction = (zeroes & allocated) !== 0;
    if (contradiction) view.setUint32(at + 12, allocated & ~zeroes);
    const holdsData = extendedL2 ? (allocated & ~zeroes) !== 0 : !zeroFlag || (lo & ZERO) === 0;
    const misplaced = !holdsData && entryOffset(hi, lo) % clusterSize !== 0;
    if (misplaced) {
      view.setUint32(at, 0);
      view.setUint32(at + 4, zeroFlag ? ZERO : 0);
    }
    return contradiction || misplaced;
  });
}

/**
 * Makes the copied flags of the active tables say which refcounts are one.
 *
 * @param inspection A walk after the refcounts were repaired.
 * @returns how many entries were changed.
 */
export function* repairCopiedFlags(inspection: Inspection): Coroutine<number> {
  const { header, geometry, stored } = inspection;
  const active = activeL1(header);
  const flag = function* (view: DataView, at: number, implicit: boolean): Coroutine<boolean> {
    const hi = view.getUint32(at);
    const offset = entryOffset(hi, view.getUint32(at + 4));
    const refcount = implicit ? 1 : yield* stored.get(Math.floor(offset / geometry.clusterSize));
    if (refcount === undefined || (refcount === 1) === ((hi & COPIED) !== 0)) return false;
    view.setUint32(at, (hi ^ COPIED) >>> 0);
    return true;
  };
  const tables = yield* rewriteL1(inspection, active, function* (view, at) {
    return entryOffset(view.getUint32(at), view.getUint32(at + 4)) !== 0 && (yield* flag(view, at, false));
  });
  return tables + (yield* rewriteL2Tables(inspection, active.length > 0 ? [active] : [], function* (view, at) {
    const hi = view.getUint32(at);
    if ((hi & COMPRESSED) !== 0 || entryOffset(hi, view.getUint32(at + 4)) === 0) return false;
    return yield* flag(view, at, geometry.externalData);
  }));
}

function activeL1({ l1TableOffset, l1Size }: Qcow2Header): TablePart {
  return { offset: l1TableOffset, length: l1Size * 8, times: 1 };
}

function* snapshotL1Tables({ file, header, incomplete }: Inspection): Coroutine<TablePart[]> {
  if (header.snapshotCount === 0 || incomplete) return [];
  const { snapshots } = yield* readSnapshotTable(file, header);
  return snapshots.map(({ l1TableOffset, l1Size }) => ({ offset: l1TableOffset, length: l1Size * 8, times: 1 }));
}

/** Changes entries of an L1 table, unless something lies over a piece of it. */
function* rewriteL1(inspection: Inspection, { offset, length }: TablePart, repair: EntryRepair): Coroutine<number> {
  const { file, counts, geometry } = inspection;
  let changed = 0;
  for (let at = 0; at < length; at += geometry.clusterSize) {
    if (counts.conflict((offset + at) / geometry.clusterSize) !== undefined) continue;
    const bytes = yield* readBytes(file, offset + at, Math.min(geometry.clusterSize, length - at));
    const count = yield* rewrite(new DataView(bytes.buffer), 8, repair);
    if (count > 0) yield* writeBytes(file, offset + at, bytes);
    changed += count;
  }
  if (changed > 0) yield* syncFile(file);
  return changed;
}

/** Changes entries of the L2 tables that L1 tables lead to, unless something lies over a table. */
function* rewriteL2Tables(
  inspection: Inspection,
  parts: readonly TablePart[],
  repair: EntryRepair,
): Coroutine<number> {
  const { file, counts, geometry, effort } = inspection;
  let changed = 0;
  yield* walkMapping(file, geometry, parts, {
    entry({ offset }) {
      const cluster = offset / geometry.clusterSize;
      return offset !== 0 && offset < file.size && Number.isInteger(cluster) && counts.conflict(cluster) === undefined;
    },
    *table({ offset, bytes, view }: L2Table) {
      const count = yield* rewrite(view, geometry.l2EntrySize, repair);
      if (count > 0) yield* writeBytes(file, offset, bytes);
      changed += count;
    },
  }, effort);
  if (changed > 0) yield* syncFile(file);
  return changed;
}

/** @returns how many entries of a table were changed. */
function* rewrite(view: DataView, entrySize: number, repair: EntryRepair): Coroutine<number> {
  let changed = 0;
  for (let at = 0; at < view.byteLength; at += entrySize) {
    if (view.getUint32(at) === 0 && view.getUint32(at + 4) === 0) continue;
    if (yield* repair(view, at)) changed++;
  }
  return changed;
}
