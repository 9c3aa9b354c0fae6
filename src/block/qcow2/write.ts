/**
 * Writing guest data: in place where that is allowed, otherwise to clusters of its own.
 *
 * A write that allocates has three steps: clusters are allocated, the data are written with what surrounds them in the cluster,
 * and the tables are pointed at them. Only then do readers, and with the next commit the image, know of them. What fails before
 * leaves the disk as it was.
 *
 * @module
 */
import { type Coroutine, type Wait, waitFor, waitForAll } from "../coroutine.ts";
import { commit, type Engine, isCommitDue } from "./commit.ts";
import { COMPRESSED, compressedExtent, COPIED, offsetHi, offsetLo } from "./entries.ts";
import { type ClusterEntry, coveredSubclusters, Kind } from "./mapping.ts";
import { readGuest, readsAsZero } from "./read.ts";
import type { ClusterRun } from "./refcounts.ts";
import type { ImageState } from "./state.ts";

/** Bytes that are allocated and written at once, at most. */
const PIECE = 1024 * 1024;

/** Guest clusters in a row that are written to host clusters in a row. */
interface Run {
  /** Guest offset of the first cluster, and how many there are. */
  readonly guest: number;
  readonly count: number;
  /** Offset of the first cluster in the data file. */
  readonly host: number;
  /** The clusters, where they are new ones. */
  readonly allocated: ClusterRun | undefined;
  /** Guest range that is written: the request's, with what has to be filled up around it. */
  readonly from: number;
  readonly to: number;
}

/**
 * Overwrites data where they are, if all of them may be. The caller holds the range, shared at least.
 *
 * @returns whether that was so; otherwise nothing was done.
 */
export function* writeInPlace(engine: Engine, offset: number, data: Uint8Array): Coroutine<boolean> {
  const { state, mapping } = engine;
  const waits: Wait[] = [];
  for (let at = 0; at < data.length;) {
    const table = yield* mapping.table(offset + at);
    const { kind, copied, host, length } = mapping.find(table, offset + at, data.length - at);
    if (kind !== Kind.DATA || !(copied || state.external)) return false;
    yield* checkUnshared(engine, host, length);
    const part = data.subarray(at, at + length);
    waits.push((done) => state.dataFile.write(host, part, done));
    at += length;
  }
  yield* waitForAll(waits);
  return true;
}

/** Whether the refcounts of clusters are in memory, and say that nothing else has a share in them. */
export function isKnownUnshared({ state, refcounts }: Engine, host: number, length: number): boolean {
  if (state.external) return true;
  const last = Math.floor((host + length - 1) / state.clusterSize);
  for (let cluster = Math.floor(host / state.clusterSize); cluster <= last; cluster++) {
    if (refcounts.known(cluster) !== 1) return false;
  }
  return true;
}

/** Checks that clusters which are marked as not shared are not. */
export function* checkUnshared({ state, refcounts }: Engine, host: number, length: number): Coroutine<void> {
  if (state.external) return;
  const last = Math.floor((host + length - 1) / state.clusterSize);
  for (let cluster = Math.floor(host / state.clusterSize); cluster <= last; cluster++) {
    const count = refcounts.known(cluster) ?? (yield* refcounts.get(cluster));
    if (count !== 1) {
      const where = `0x${(cluster * state.clusterSize).toString(16)}`;
      state.corrupt(`the cluster at ${where} is marked as not shared, but its refcount is ${count}`);
    }
  }
}

/** Writes a part of the disk. The caller holds its clusters exclusively. */
export function* writeGuest(engine: Engine, offset: number, data: Uint8Array): Coroutine<void> {
  const { l2Span, clusterSize } = engine.state;
  for (let at = 0; at < data.length;) {
    const guest = offset + at;
    // Pieces end with clusters, and with L2 tables.
    const most = Math.min(l2Span - guest % l2Span, Math.max(PIECE, clusterSize) - guest % clusterSize);
    const part = data.subarray(at, at + most);
    yield* writePiece(engine, guest, part);
    at += part.length;
  }
}

function* writePiece(engine: Engine, offset: number, data: Uint8Array): Coroutine<void> {
  const { mutex } = engine.state;
  const runs: Run[] = [];
  try {
    yield* mutex.hold(() => plan(engine, offset, data.length, runs));
    for (const run of runs) yield* writeRun(engine, run, offset, data);
    yield* mutex.hold(() => link(engine, runs));
  } catch (error) {
    yield* mutex.hold(() => undo(engine, runs));
    throw error;
  }
}

/** Decides where each cluster goes, and allocates. Runs are added to `runs` one by one, so that a failure leaves them there. */
function* plan(engine: Engine, offset: number, length: number, runs: Run[]): Coroutine<void> {
  const { state, mapping, refcounts } = engine;
  const { clusterSize } = state;
  if (isCommitDue(engine)) yield* commit(engine);
  const table = yield* mapping.table(offset);
  const end = offset + length;
  const hostAt = (guest: number) => presentHost(engine, guest, mapping.entry(table, guest));
  for (let guest = offset - offset % clusterSize; guest < end;) {
    const present = yield* hostAt(guest);
    let count = 1;
    while (guest + count * clusterSize < end) {
      const next = yield* hostAt(guest + count * clusterSize);
      if (next !== (present === undefined ? undefined : present + count * clusterSize)) break;
      count++;
    }
    const allocated = present === undefined ? yield* refcounts.allocate(count) : undefined;
    count = allocated?.count ?? count;
    const host = present ?? (allocated as ClusterRun).first * clusterSize;
    const first = mapping.entry(table, guest);
    const last = mapping.entry(table, guest + (count - 1) * clusterSize);
    runs.push(makeRun(engine, offset, end, { guest, count, host, allocated }, first, last));
    guest += count * clusterSize;
  }
}

/** The host cluster that a guest cluster has for itself already. */
function* presentHost(engine: Engine, guest: number, entry: ClusterEntry): Coroutine<number | undefined> {
  const { state, mapping } = engine;
  if (state.external) return guest;
  if ((entry.hi & COMPRESSED) !== 0 || entry.hi < COPIED) return undefined;
  const host = mapping.hostOf(guest, entry);
  if (host !== undefined) yield* checkUnshared(engine, host, state.clusterSize);
  return host;
}

function makeRun(
  { state }: Engine,
  offset: number,
  end: number,
  place: Pick<Run, "guest" | "count" | "host" | "allocated">,
  first: ClusterEntry,
  last: ClusterEntry,
): Run {
  const { clusterSize, external, size } = state;
  const runEnd = place.guest + place.count * clusterSize;
  const startUnit = fillUnit(state, first, place.allocated === undefined);
  const endUnit = fillUnit(state, last, place.allocated === undefined);
  const from = Math.max(place.guest, Math.floor(offset / startUnit) * startUnit);
  const filled = Math.min(runEnd, Math.ceil(end / endUnit) * endUnit);
  // A data file is not to become longer than the disk.
  const to = external ? Math.max(Math.min(end, runEnd), Math.min(filled, size)) : filled;
  return { ...place, from, to };
}

/** In what units a cluster is filled up around data: subclusters, unless there is more in the old cluster that has to move. */
function fillUnit({ extended, unitSize, clusterSize }: ImageState, entry: ClusterEntry, stays: boolean): number {
  const moves = (entry.hi & COMPRESSED) !== 0 || entry.allocatedBits !== 0;
  return extended && (stays || !moves) ? unitSize : clusterSize;
}

function* writeRun(engine: Engine, run: Run, offset: number, data: Uint8Array): Coroutine<void> {
  const { dataFile } = engine.state;
  const start = Math.max(run.from, offset);
  const end = Math.min(run.to, offset + data.length);
  const own = data.subarray(start - offset, end - offset);
  const write = (guest: number, bytes: Uint8Array) =>
    waitFor((done) => dataFile.write(run.host + guest - run.guest, bytes, done));
  if (start === run.from && end === run.to) return yield* write(start, own);
  const fresh = run.allocated?.fresh ?? false;
  if (
    fresh && (yield* readsAsZero(engine, run.from, start - run.from)) && (yield* readsAsZero(engine, end, run.to - end))
  ) {
    return yield* write(start, own);
  }
  const merged = new Uint8Array(run.to - run.from);
  yield* readGuest(engine, run.from, merged.subarray(0, start - run.from));
  yield* readGuest(engine, end, merged.subarray(end - run.from));
  merged.set(own, start - run.from);
  yield* write(run.from, merged);
}

/** Points the tables at the runs. It does all of it or fails before the first change. */
function* link(engine: Engine, runs: readonly Run[]): Coroutine<void> {
  const { state, mapping } = engine;
  const { clusterSize } = state;
  const present = yield* mapping.table(runs[0].guest);
  const changes = runs.flatMap((run) =>
    Array.from({ length: run.count }, (_, i) => {
      const guest = run.guest + i * clusterSize;
      const old = mapping.entry(present, guest);
      return { guest, old, entry: linkedEntry(state, run, i, old), moved: run.allocated !== undefined };
    })
  ).filter(({ old, entry }) => !sameEntry(old, entry));
  if (changes.length === 0) return;
  const table = yield* mapping.writableTable(runs[0].guest);
  for (const { guest, old, entry, moved } of changes) {
    mapping.setEntry(table, guest, entry);
    if (moved) releaseEntry(engine, guest, old);
  }
}

function linkedEntry(state: ImageState, run: Run, index: number, old: ClusterEntry): ClusterEntry {
  const { clusterSize, extended, unitSize } = state;
  const guest = run.guest + index * clusterSize;
  const host = run.host + index * clusterSize;
  const entry = { hi: (offsetHi(host) | COPIED) >>> 0, lo: offsetLo(host), zeroBits: 0, allocatedBits: 0 };
  if (!extended) return entry;
  const from = Math.max(run.from, guest) - guest;
  const to = Math.min(run.to, guest + clusterSize) - guest;
  const covered = coveredSubclusters(from, to, unitSize);
  const kept = (old.hi & COMPRESSED) === 0;
  return {
    ...entry,
    zeroBits: kept ? (old.zeroBits & ~covered) >>> 0 : 0,
    allocatedBits: ((run.allocated === undefined ? old.allocatedBits : 0) | covered) >>> 0,
  };
}

export function sameEntry(a: ClusterEntry, b: ClusterEntry): boolean {
  return a.hi === b.hi && a.lo === b.lo && a.zeroBits === b.zeroBits && a.allocatedBits === b.allocatedBits;
}

/** Gives back what an entry that is gone referred to. */
export function releaseEntry({ state, mapping }: Engine, guest: number, old: ClusterEntry): void {
  const { clusterSize, header, released } = state;
  if (state.external) return;
  if ((old.hi & COMPRESSED) === 0) {
    const host = mapping.hostOf(guest, old);
    if (host !== undefined) released.push(host / clusterSize);
    return;
  }
  const extent = compressedExtent(old.hi, old.lo, header.clusterBits);
  if (extent === undefined) return;
  const last = Math.floor((extent.offset + extent.length - 1) / clusterSize);
  for (let cluster = Math.floor(extent.offset / clusterSize); cluster <= last; cluster++) released.push(cluster);
}

/** Gives back what was allocated for a write that failed. No table ever referred to it. */
function* undo({ refcounts }: Engine, runs: readonly Run[]): Coroutine<void> {
  for (const { allocated } of runs) {
    if (allocated === undefined) continue;
    const clusters = Array.from({ length: allocated.count }, (_, i) => allocated.first + i);
    for (const cluster of clusters) yield* refcounts.release(cluster);
    refcounts.reuse(clusters);
  }
}
