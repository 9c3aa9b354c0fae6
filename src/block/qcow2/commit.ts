/**
 * Writing changed metadata back in such an order that a crash of the process or the machine, at any point, costs at worst
 * clusters that are marked as in use and are not.
 *
 * Refcounts that rise reach stable storage before any table that refers to their clusters, these before tables that refer to
 * them, and refcounts fall only when no table on stable storage refers to the cluster any more. What a failure interrupts is
 * done again by the next commit: a table counts as written only once the host has confirmed it.
 *
 * That holds for images with lazy refcounts too. The feature allows refcounts to be late, under the dirty bit, and the price is a
 * repair after each crash; here they are late as it is, until a commit, and no image is ever marked dirty.
 *
 * @module
 */
import { type Coroutine, type Wait, waitFor, waitForAll } from "../coroutine.ts";
import type { Mapping } from "./mapping.ts";
import type { Refcounts } from "./refcounts.ts";
import type { ImageState } from "./state.ts";
import type { TableCache } from "./table_cache.ts";

/** The parts of an open image. */
export interface Engine {
  readonly state: ImageState;
  readonly refcounts: Refcounts;
  readonly mapping: Mapping;
}

/** Tables that are written at once. */
const MOST_WRITES = 64;

/** References that wait to be given back, at most; each costs memory, and so does the space that they keep. */
const MOST_RELEASED = 16384;

/** Whether there is anything that a commit would do but syncing. */
export function hasChanges({ state, refcounts, mapping }: Engine): boolean {
  return refcounts.hasChanges || mapping.hasChanges || state.released.length > 0;
}

/** Whether a commit is due before more changes. */
export function isCommitDue({ state, refcounts, mapping }: Engine): boolean {
  return refcounts.blocks.isCrowded || mapping.tables.isCrowded || state.released.length >= MOST_RELEASED;
}

/** Brings all that has completed to stable storage. For the holder of the metadata mutex. */
export function* commit(engine: Engine): Coroutine<void> {
  const { state, refcounts, mapping } = engine;
  yield* syncData(state);
  if (!hasChanges(engine)) return yield* sync(state);
  state.checkWritable();
  yield* refcounts.prepareCommit();
  yield* writeTables(state, refcounts.blocks);
  yield* refcounts.writeTable();
  if (mapping.tables.hasDirty) yield* writeTables(state, mapping.tables);
  if (mapping.l1HasChanges) yield* mapping.writeL1();
  yield* releaseClusters(engine);
}

/** Waits until the guest's data are on stable storage, where these are in a file of their own. */
function* syncData({ dataFile, external }: ImageState): Coroutine<void> {
  if (external) yield* waitFor((done) => dataFile.sync(done));
}

function* sync({ file }: ImageState): Coroutine<void> {
  yield* waitFor((done) => file.sync(done));
}

function* writeTables(state: ImageState, cache: TableCache): Coroutine<void> {
  const tables = cache.dirtyTables();
  const writes = tables.map(({ offset, bytes }): Wait => (done) => state.file.write(offset, bytes, done));
  for (let i = 0; i < writes.length; i += MOST_WRITES) yield* waitForAll(writes.slice(i, i + MOST_WRITES));
  yield* sync(state);
  for (const table of tables) cache.setClean(table);
}

/** Gives back the references that are gone from all tables. */
function* releaseClusters({ state, refcounts, mapping }: Engine): Coroutine<void> {
  const free: number[] = [];
  try {
    while (state.released.length > 0) {
      const cluster = state.released[state.released.length - 1];
      const last = yield* refcounts.release(cluster);
      state.released.pop();
      if (!last) continue;
      mapping.tables.drop(cluster * state.clusterSize);
      refcounts.blocks.drop(cluster * state.clusterSize);
      free.push(cluster);
      if (refcounts.blocks.isCrowded) yield* writeTables(state, refcounts.blocks);
    }
    if (state.mayDiscard && !state.external) yield* giveBack(state, free);
  } finally {
    refcounts.reuse(free);
  }
}

/** Has the host take the space of free clusters. It is over before any of them can be in use again. */
function* giveBack({ file, clusterSize }: ImageState, clusters: readonly number[]): Coroutine<void> {
  const sorted = [...clusters].sort((a, b) => a - b);
  for (let start = 0, end = 1; start < sorted.length; start = end++) {
    while (end < sorted.length && sorted[end] === sorted[end - 1] + 1) end++;
    yield* waitFor((done) => file.discard(sorted[start] * clusterSize, (end - start) * clusterSize, done));
  }
}
