/**
 * qcow2 images, read and written.
 *
 * @module
 */
import type { BlockCompletion, BlockDevice, Extent } from "../block_device.ts";
import { type Coroutine, run, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import type { RangeHold } from "../range_lock.ts";
import { commit, type Engine, hasChanges } from "./commit.ts";
import { Kind } from "./mapping.ts";
import { openEngine } from "./open_engine.ts";
import { readGuest } from "./read.ts";
import { clearAutoclear } from "./stale_bitmaps.ts";
import { CorruptImageError } from "./state.ts";
import { isKnownUnshared, writeGuest, writeInPlace } from "./write.ts";
import { CompressedWriter } from "./write_compressed.ts";
import { discardGuest, zeroGuest } from "./zero.ts";

/** How an image is opened. */
export interface Qcow2Options {
  /** @default {false} */
  readonly readOnly?: boolean;
  /** Whether written data may sit in a volatile cache until a flush. @default {true} */
  readonly writeCache?: boolean;
  /** Whether what the guest unmaps is given back. @default {false} */
  readonly discard?: boolean;
  /** The backing file, if the header names one. It then belongs to the image, which closes it. */
  readonly backing?: BlockDevice;
  /** The external data file, if the header asks for one. It then belongs to the image, which closes it. */
  readonly dataFile?: HostFile;
}

/**
 * Opens an image.
 *
 * @param file The image, which belongs to the device then. What fails before leaves it, and the other files, open.
 * @throws {Error} in one line that names the image and the field that is wrong.
 */
export function* openQcow2(file: HostFile, options: Qcow2Options = {}): Coroutine<BlockDevice> {
  const engine = yield* openEngine(file, options);
  return new Qcow2Image(engine, options.writeCache ?? true);
}

/** Changes that one close waits for; each commit makes fewer new ones. */
const LAST_COMMITS = 4;

/** An open image as a disk. */
class Qcow2Image implements BlockDevice {
  readonly size: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly discardGranularity: number;
  readonly #engine: Engine;
  readonly #compressed: CompressedWriter;
  #closed = false;

  constructor(engine: Engine, writeCache: boolean) {
    const { state } = engine;
    this.#engine = engine;
    this.#compressed = new CompressedWriter(engine);
    this.size = state.size;
    this.readOnly = state.readOnly;
    this.writeCache = writeCache;
    this.discardGranularity = state.clusterSize;
  }

  read(offset: number, into: Uint8Array, done: BlockCompletion): void {
    this.#check(offset, into.length);
    if (into.length === 0) return done();
    const { ranges } = this.#engine.state;
    const hold = ranges.tryAcquire(offset, offset + into.length, false);
    if (hold !== undefined && this.#readPlain(hold, offset, into, done)) return;
    const length = into.length;
    this.#run("read", offset, length, done, this.#holding(hold, offset, length, readGuest(this.#engine, offset, into)));
  }

  /** Reads what lies in one piece in the file, if the tables for it are in memory. @returns whether that was so. */
  #readPlain(hold: RangeHold, offset: number, into: Uint8Array, done: BlockCompletion): boolean {
    const host = this.#plainPlace(offset, into.length, false);
    if (host === undefined) return false;
    const { state } = this.#engine;
    state.dataFile.read(host, into, (error) => {
      state.ranges.release(hold);
      done(error === undefined ? undefined : this.#failure("read", offset, into.length, error));
    });
    return true;
  }

  /**
   * Where the data of a range lie in one piece, as far as tables in memory tell.
   *
   * @param overwrite Whether only a place will do that nothing else has a share in.
   */
  #plainPlace(offset: number, length: number, overwrite: boolean): number | undefined {
    const { mapping } = this.#engine;
    try {
      const table = mapping.tableInMemory(offset);
      if (table === undefined) return undefined;
      const { kind, length: found, host, copied } = mapping.find(table, offset, length);
      if (kind !== Kind.DATA || found !== length) return undefined;
      return !overwrite || (copied && isKnownUnshared(this.#engine, host, length)) ? host : undefined;
    } catch (error) {
      // It is found, and said, again where corruption is dealt with.
      if (error instanceof CorruptImageError) return undefined;
      throw error;
    }
  }

  write(offset: number, from: Uint8Array, fua: boolean, done: BlockCompletion): void {
    this.#check(offset, from.length);
    const { ranges, isReadyForWrites } = this.#engine.state;
    if (isReadyForWrites && from.length > 0 && this.writeCache && !fua) {
      const hold = ranges.tryAcquire(offset, offset + from.length, false);
      if (hold !== undefined && this.#writePlain(hold, offset, from, done)) return;
      if (hold !== undefined) ranges.release(hold);
    }
    this.#change("write", offset, from.length, fua, done, () => this.#write(offset, from));
  }

  /** Overwrites what lies in one piece in the file, if the tables for it are in memory. @returns whether that was so. */
  #writePlain(hold: RangeHold, offset: number, from: Uint8Array, done: BlockCompletion): boolean {
    const host = this.#plainPlace(offset, from.length, true);
    if (host === undefined) return false;
    const { state } = this.#engine;
    state.dataFile.write(host, from, (error) => {
      state.ranges.release(hold);
      done(error === undefined ? undefined : this.#failure("write", offset, from.length, error));
    });
    return true;
  }

  writeCompressed(offset: number, from: Uint8Array, done: BlockCompletion): void {
    this.#check(offset, from.length);
    const { clusterSize } = this.#engine.state;
    const end = offset + from.length;
    if (offset % clusterSize !== 0 || from.length > clusterSize || (end % clusterSize !== 0 && end !== this.size)) {
      throw new RangeError(`${from.length} bytes at ${offset} are not one cluster of ${clusterSize} bytes`);
    }
    const work = () => this.#exclusively(offset, from.length, this.#compressed.write(offset, from));
    this.#change("write", offset, from.length, false, done, work);
  }

  discard(offset: number, length: number, done: BlockCompletion): void {
    this.#check(offset, length);
    if (!this.#engine.state.mayDiscard || length === 0) return done();
    const work = () => this.#exclusively(offset, length, discardGuest(this.#engine, offset, length));
    this.#change("discard", offset, length, false, done, work);
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: BlockCompletion): void {
    this.#check(offset, length);
    const mayUnmap = unmap && this.#engine.state.mayDiscard;
    const work = () => this.#exclusively(offset, length, zeroGuest(this.#engine, offset, length, mayUnmap));
    this.#change("zero", offset, length, false, done, work);
  }

  flush(done: BlockCompletion): void {
    if (this.readOnly) return done();
    this.#run("flush", 0, this.size, done, this.#commit());
  }

  status(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void {
    this.#check(offset, length);
    let extent: Extent | undefined;
    const ended: BlockCompletion = (error) => done(error, error === undefined ? extent : undefined);
    const look = this.#status(offset, length, (found) => {
      extent = found;
    });
    this.#run("examine", offset, length, ended, this.#holding(undefined, offset, length, look));
  }

  *#status(offset: number, length: number, found: (extent: Extent) => void): Coroutine<void> {
    const { state, mapping } = this.#engine;
    const { backing } = state;
    const { kind, length: mapped } = mapping.find(yield* mapping.table(offset), offset, length);
    if (kind !== Kind.UNALLOCATED || backing === undefined || backing.size <= offset) {
      return found({ length: mapped, zero: kind === Kind.ZERO || kind === Kind.UNALLOCATED });
    }
    const there = Math.min(mapped, backing.size - offset);
    let behind: Extent = { length: there, zero: false };
    if (backing.status !== undefined) {
      yield* waitFor((done) =>
        backing.status?.(offset, there, (error, extent) => {
          behind = extent ?? behind;
          done(error);
        })
      );
    }
    found(behind);
  }

  close(done: BlockCompletion): void {
    if (this.#closed) return done();
    this.#closed = true;
    run(this.#close(), done);
  }

  *#close(): Coroutine<void> {
    const { state } = this.#engine;
    const { file, dataFile, external, backing } = state;
    try {
      if (!state.readOnly && state.corruption === undefined) yield* this.#commitAll();
    } catch (cause) {
      throw new Error(`Cannot write back the metadata of ${file.name}`, { cause });
    } finally {
      file.close();
      if (external) dataFile.close();
      if (backing !== undefined) yield* waitFor((done) => backing.close(done));
    }
  }

  /** Commits until nothing is left: giving clusters back, the last step of a commit, changes refcounts again. */
  *#commitAll(): Coroutine<void> {
    for (let i = 0; i < LAST_COMMITS; i++) {
      yield* this.#commit();
      if (!hasChanges(this.#engine)) return;
    }
  }

  *#commit(): Coroutine<void> {
    const engine = this.#engine;
    yield* engine.state.mutex.hold(() => commit(engine));
  }

  *#write(offset: number, from: Uint8Array): Coroutine<void> {
    const { state } = this.#engine;
    const hold = yield* state.ranges.acquire(offset, offset + from.length, false);
    try {
      if (yield* writeInPlace(this.#engine, offset, from)) return;
    } finally {
      state.ranges.release(hold);
    }
    yield* this.#exclusively(offset, from.length, writeGuest(this.#engine, offset, from));
  }

  /** Works while nobody else uses the clusters of a range. */
  *#exclusively(offset: number, length: number, work: Coroutine<void>): Coroutine<void> {
    const { ranges, clusterSize } = this.#engine.state;
    const end = Math.ceil((offset + length) / clusterSize) * clusterSize;
    const hold = yield* ranges.acquire(offset - offset % clusterSize, end, true);
    try {
      yield* work;
    } finally {
      ranges.release(hold);
    }
  }

  /** Works while nobody changes where a range lies. */
  *#holding(taken: RangeHold | undefined, offset: number, length: number, work: Coroutine<void>): Coroutine<void> {
    const { ranges } = this.#engine.state;
    const hold = taken ?? (yield* ranges.acquire(offset, offset + length, false));
    try {
      yield* work;
    } finally {
      ranges.release(hold);
    }
  }

  /** A request that changes the disk: durable at once where it has to be. */
  #change(
    what: string,
    offset: number,
    length: number,
    fua: boolean,
    done: BlockCompletion,
    work: () => Coroutine<void>,
  ): void {
    if (this.readOnly) return done(new Error(`Cannot ${what} ${this.#name}: it is open read-only`));
    if (length === 0) return done();
    this.#run(what, offset, length, done, this.#changing(work, fua || !this.writeCache));
  }

  *#changing(work: () => Coroutine<void>, durable: boolean): Coroutine<void> {
    const { state } = this.#engine;
    state.checkWritable();
    if (state.hasStaleAutoclear) yield* state.mutex.hold(() => clearAutoclear(this.#engine));
    yield* work();
    if (durable) yield* this.#commit();
  }

  get #name(): string {
    return this.#engine.state.file.name;
  }

  #failure(what: string, offset: number, length: number, cause: Error): Error {
    return new Error(`Cannot ${what} ${length} bytes at ${offset} of ${this.#name}`, { cause });
  }

  /** Drives a request, and takes note when it finds the image corrupt. */
  #run(what: string, offset: number, length: number, done: BlockCompletion, work: Coroutine<void>): void {
    run(work, (error) => {
      if (error === undefined) return done();
      const failure = this.#failure(what, offset, length, error);
      if (!(error instanceof CorruptImageError)) return done(failure);
      // That it could not be noted in the image is not what the request has to say.
      run(this.#engine.state.markCorrupt(error), () => done(failure));
    });
  }

  /** @throws {RangeError} when the range does not lie on the disk. */
  #check(offset: number, length: number): void {
    const inside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 &&
      offset + length <= this.size;
    if (!inside) throw new RangeError(`${length} bytes at ${offset} do not lie on ${this.#name} of ${this.size} bytes`);
  }
}
