/**
 * Zeroes and discards: whole clusters change in the tables only.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import { commit, type Engine, isCommitDue } from "./commit.ts";
import { COMPRESSED, COPIED, offsetHi, offsetLo, ZERO } from "./entries.ts";
import type { ClusterEntry } from "./mapping.ts";
import { readsAsZero } from "./read.ts";
import { checkUnshared, releaseEntry, sameEntry, writeGuest } from "./write.ts";

/** Clusters whose entries change under one hold of the metadata. */
const BATCH = 4096;

const ALL = 0xffffffff;
const UNALLOCATED: ClusterEntry = { hi: 0, lo: 0, zeroBits: 0, allocatedBits: 0 };

/** What the entry of a guest cluster becomes. It may be the same. */
type Change = (guest: number, old: ClusterEntry) => ClusterEntry;

/** Zeroes a part of the disk, whose clusters the caller holds exclusively. */
export function* zeroGuest(engine: Engine, offset: number, length: number, unmap: boolean): Coroutine<void> {
  const { external, rawExternal, dataFile, header } = engine.state;
  const { start, end } = wholeClusters(engine, offset, length);
  if (start >= end) return yield* zeroData(engine, offset, length);
  yield* zeroData(engine, offset, start - offset);
  if (header.version === 2) {
    yield* unallocateOrZero(engine, start, end);
  } else {
    const inside = Math.min(end, engine.state.size) - start;
    if (rawExternal) yield* waitFor((done) => dataFile.writeZeroes(start, inside, unmap, done));
    const keepHost = external || !unmap;
    yield* changeEntries(engine, start, end, (guest, old) => zeroEntry(engine, guest, old, keepHost));
    if (external && !rawExternal && unmap) yield* waitFor((done) => dataFile.discard(start, inside, done));
  }
  if (end < offset + length) yield* zeroData(engine, end, offset + length - end);
}

/** Forgets the whole clusters in a part of the disk, which the caller holds exclusively. */
export function* discardGuest(engine: Engine, offset: number, length: number): Coroutine<void> {
  const { external, dataFile, size, header } = engine.state;
  const { start, end } = wholeClusters(engine, offset, length);
  if (start >= end) return;
  // The place of data in an external file is given, so that nothing is won by forgetting it.
  if (external) return yield* waitFor((done) => dataFile.discard(start, Math.min(end, size) - start, done));
  yield* changeEntries(engine, start, end, (guest, old) => {
    if (!hasBacking(engine, guest)) return UNALLOCATED;
    if (sameEntry(old, UNALLOCATED)) return old;
    return header.version >= 3 ? zeroEntry(engine, guest, old, false) : old;
  });
}

/** The whole clusters of a range; the last of the disk is one even if the disk ends within it. */
function wholeClusters({ state }: Engine, offset: number, length: number): { start: number; end: number } {
  const { clusterSize, size } = state;
  const start = Math.ceil(offset / clusterSize) * clusterSize;
  const last = offset + length === size ? Math.ceil(size / clusterSize) : Math.floor((offset + length) / clusterSize);
  return { start, end: last * clusterSize };
}

function hasBacking({ state }: Engine, guest: number): boolean {
  return (state.backing?.size ?? 0) > guest;
}

/** Zeroes data by writing. */
function* zeroData(engine: Engine, offset: number, length: number): Coroutine<void> {
  const step = Math.max(engine.state.clusterSize, 1024 * 1024);
  for (let at = 0; at < length; at += step) {
    const count = Math.min(step, length - at);
    const skip = !engine.state.rawExternal && (yield* readsAsZero(engine, offset + at, count));
    if (!skip) yield* writeGuest(engine, offset + at, new Uint8Array(count));
  }
}

/** Version 2, which has no zero clusters: what is not allocated is zero only where nothing backs it. */
function* unallocateOrZero(engine: Engine, start: number, end: number): Coroutine<void> {
  const { clusterSize, size, backing } = engine.state;
  const backingEnd = Math.ceil((backing?.size ?? 0) / clusterSize) * clusterSize;
  const split = Math.min(Math.max(start, backingEnd), end);
  yield* zeroData(engine, start, Math.min(split, size) - start);
  yield* changeEntries(engine, split, end, () => UNALLOCATED);
}

/** An entry that reads as zeroes. */
function zeroEntry(engine: Engine, guest: number, old: ClusterEntry, keepHost: boolean): ClusterEntry {
  const { state, mapping } = engine;
  const { extended, external } = state;
  const unshared = (old.hi & COMPRESSED) === 0 && old.hi >= COPIED;
  const host = keepHost && unshared ? mapping.hostOf(guest, old) : undefined;
  // The data file of a raw image has the zeroes.
  const kept = host ?? (external && state.rawExternal ? guest : undefined);
  const flags = { lo: extended ? 0 : ZERO, zeroBits: extended ? ALL : 0, allocatedBits: 0 };
  if (kept === undefined) return { ...flags, hi: 0 };
  return { ...flags, hi: (offsetHi(kept) | COPIED) >>> 0, lo: (offsetLo(kept) | flags.lo) >>> 0 };
}

function* changeEntries(engine: Engine, start: number, end: number, change: Change): Coroutine<void> {
  const { clusterSize, l2Span, mutex } = engine.state;
  for (let at = start; at < end;) {
    const from = at;
    const to = Math.min(end, at + BATCH * clusterSize, at - at % l2Span + l2Span);
    yield* mutex.hold(() => changeBatch(engine, from, to, change));
    at = to;
  }
}

/** Changes the entries of one L2 table, all or none. */
function* changeBatch(engine: Engine, start: number, end: number, change: Change): Coroutine<void> {
  const { state, mapping } = engine;
  if (isCommitDue(engine)) yield* commit(engine);
  const present = yield* mapping.table(start);
  if (present === undefined && !hasBacking(engine, start) && !state.rawExternal) return;
  const changes: { guest: number; old: ClusterEntry; entry: ClusterEntry }[] = [];
  for (let guest = start; guest < end; guest += state.clusterSize) {
    const old = mapping.entry(present, guest);
    const entry = change(guest, old);
    if (sameEntry(old, entry)) continue;
    const host = mapping.hostOf(guest, old);
    if (host !== undefined && old.hi >= COPIED) yield* checkUnshared(engine, host, state.clusterSize);
    changes.push({ guest, old, entry });
  }
  if (changes.length === 0) return;
  const table = yield* mapping.writableTable(start);
  for (const { guest, old, entry } of changes) {
    mapping.setEntry(table, guest, entry);
    if (mapping.hostOf(guest, entry) === undefined) releaseEntry(engine, guest, old);
  }
}
