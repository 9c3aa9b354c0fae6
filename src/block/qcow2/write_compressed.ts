/**
 * Writing compressed clusters, one behind the other.
 *
 * Compressed data begin at any byte and share host clusters, whose refcounts tell how many are in each. Source: "Cluster mapping",
 * "Compressed Clusters Descriptor", in docs/interop/qcow2.txt of QEMU.
 *
 * @module
 */
import { compress } from "../compression.ts";
import { type Coroutine, waitFor } from "../coroutine.ts";
import { commit, type Engine, isCommitDue } from "./commit.ts";
import { encodeCompressed } from "./entries.ts";
import { CompressionType } from "./header.ts";
import type { ClusterEntry } from "./mapping.ts";
import { releaseEntry, sameEntry, writeGuest } from "./write.ts";

/** Where the data of a cluster go. */
interface Placement {
  readonly guest: number;
  /** Byte offset in the image. */
  readonly host: number;
  readonly length: number;
  /** Set once the L2 table refers to it. */
  entry?: ClusterEntry;
}

/** Stores clusters of an open image compressed. */
export class CompressedWriter {
  readonly #engine: Engine;
  /** What was placed last; more can follow it in its host cluster. */
  #last: Placement | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Stores a cluster. The caller holds it exclusively. One that does not become smaller is stored as it is.
   *
   * @param data A cluster; the disk's last one may be short.
   */
  *write(offset: number, data: Uint8Array): Coroutine<void> {
    const { state } = this.#engine;
    const { file, clusterSize, header, external, mutex } = state;
    if (external) {
      throw new Error(`${file.name} has its data in a file of their own, which holds no compressed clusters`);
    }
    const type = header.compressionType === CompressionType.ZSTD ? "zstd" : "deflate";
    const compressed = compress(type, wholeCluster(data, clusterSize));
    if (compressed === undefined) return yield* writeGuest(this.#engine, offset, data);
    const placement = yield* mutex.hold(() => this.#place(offset, compressed.length));
    try {
      yield* waitFor((done) => file.write(placement.host, compressed, done));
      yield* mutex.hold(() => this.#link(placement));
    } catch (error) {
      yield* mutex.hold(() => this.#undo(placement));
      throw error;
    }
  }

  /** Finds room, and counts the references. */
  *#place(guest: number, length: number): Coroutine<Placement> {
    const { refcounts, state: { clusterSize } } = this.#engine;
    this.#engine.state.decompressed.clear();
    if (isCommitDue(this.#engine)) yield* commit(this.#engine);
    const free = yield* this.#freeByte();
    let host = free ?? 0;
    const left = free === undefined ? 0 : clusterSize - free % clusterSize;
    const sharesLast = left > 0 && (yield* refcounts.acquire(Math.floor(host / clusterSize)));
    if (!sharesLast || left < length) {
      const shared = sharesLast ? Math.floor(host / clusterSize) : undefined;
      let next: number;
      try {
        next = (yield* refcounts.allocate(1)).first;
      } catch (error) {
        if (shared !== undefined) yield* refcounts.release(shared);
        throw error;
      }
      if (shared === undefined || next !== shared + 1) {
        if (shared !== undefined) yield* refcounts.release(shared);
        host = next * clusterSize;
      }
    }
    return this.#last = { guest, host, length };
  }

  /**
   * The byte behind what was placed last, if its host cluster has room and is in use for that still: otherwise the cluster may have been
   * given back, and hold anything.
   */
  *#freeByte(): Coroutine<number | undefined> {
    const last = this.#last;
    if (last === undefined) return undefined;
    const { mapping, state: { clusterSize } } = this.#engine;
    if (last.entry !== undefined) {
      const table = yield* mapping.table(last.guest);
      if (!sameEntry(mapping.entry(table, last.guest), last.entry)) return undefined;
    }
    const end = last.host + last.length;
    return end % clusterSize === 0 ? undefined : end;
  }

  *#link(placement: Placement): Coroutine<void> {
    const { mapping, state } = this.#engine;
    const descriptor = encodeCompressed({ offset: placement.host, length: placement.length }, state.header.clusterBits);
    if (descriptor === undefined) {
      throw new Error(`${state.file.name} is too large for compressed clusters of ${state.clusterSize} bytes`);
    }
    const entry = { ...descriptor, zeroBits: 0, allocatedBits: 0 };
    const table = yield* mapping.writableTable(placement.guest);
    const old = mapping.entry(table, placement.guest);
    mapping.setEntry(table, placement.guest, entry);
    placement.entry = entry;
    releaseEntry(this.#engine, placement.guest, old);
  }

  /** Gives back what no table refers to. */
  *#undo({ host, length, entry }: Placement): Coroutine<void> {
    if (entry !== undefined) return;
    const { refcounts, state: { clusterSize } } = this.#engine;
    this.#last = undefined;
    const freed: number[] = [];
    const last = Math.floor((host + length - 1) / clusterSize);
    for (let cluster = Math.floor(host / clusterSize); cluster <= last; cluster++) {
      if (yield* refcounts.release(cluster)) freed.push(cluster);
    }
    refcounts.reuse(freed);
  }
}

/** A cluster, filled up with zeroes. */
function wholeCluster(data: Uint8Array, clusterSize: number): Uint8Array {
  if (data.length === clusterSize) return data;
  const cluster = new Uint8Array(clusterSize);
  cluster.set(data);
  return cluster;
}
