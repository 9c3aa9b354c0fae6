/**
 * Copies what one image holds into another, with several requests in flight and a bounded amount of memory.
 *
 * @module
 */
import { alignedBuffer } from "../block/aligned_buffers.ts";
import type { BlockDevice } from "../block/block_device.ts";
import { type Completion, type Coroutine, run, type Wait, waitFor, waitForAll } from "../block/coroutine.ts";
import { isEqual, isZero, runs } from "../block/zeroes.ts";

/** How clusters are stored compressed. */
export interface Compressor {
  /** Bytes of a cluster. */
  readonly cluster: number;
  /** Stores one cluster, or the last, shorter one, of which nothing has been written yet. */
  write(offset: number, from: Uint8Array, done: Completion): void;
}

/** What is copied where, and how. */
export interface CopyOptions {
  readonly source: BlockDevice;
  /** At least as large as `source`. */
  readonly target: BlockDevice;
  /** What `target` reads as where nothing has been written: a backing file, zeroes, or it is not known. */
  readonly beneath: BlockDevice | "zeroes" | "unknown";
  /** So many zeroes in a row, in bytes, are not written but left out or deallocated; 0 writes everything. A multiple of 512. */
  readonly sparse: number;
  /** Set where the target is to be compressed, instead of writing to it. */
  readonly compressor?: Compressor;
  /** The unit in which a target with a backing file is written. Bytes, a power of two. @default {65536} */
  readonly cluster?: number;
  /** How many requests are in flight. */
  readonly requests: number;
  /** Whether writes are started in the order of the disk. */
  readonly ordered: boolean;
  /** Gives Deno a turn now and then: see {@linkcode import("./interrupt.ts").Interruptible}. */
  readonly guard: <T>(body: Coroutine<T>) => Coroutine<T>;
  /** Told how many bytes of the disk are done. */
  readonly progress: (done: number) => void;
}

/** What is read at once. */
const CHUNK = 1 << 20;

/** The most that is zeroed by one request, so that a signal does not wait for long. */
const MOST_ZEROED = 1 << 30;

/** Lets work in, in the order of its tickets. */
class Turnstile {
  #next = 0;
  #open = false;
  readonly #waiting = new Map<number, () => void>();

  *enter(ticket: number): Coroutine<void> {
    if (!this.#open && ticket !== this.#next) yield* waitFor((done) => this.#waiting.set(ticket, done));
  }

  /** Lets the next ticket in. */
  leave(): void {
    const go = this.#waiting.get(++this.#next);
    this.#waiting.delete(this.#next);
    go?.();
  }

  /** Lets everybody in from now on: order does not matter any more. */
  open(): void {
    this.#open = true;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const go of waiting) go();
  }
}

/** A part of the disk that one worker copies. */
interface Chunk {
  /** Its place among all that are copied. */
  readonly ticket: number;
  readonly offset: number;
  readonly length: number;
}

/** Two buffers of a worker. */
interface Buffers {
  readonly data: Uint8Array;
  /** What the target's backing file has. */
  readonly beneath: Uint8Array | undefined;
}

class Copy {
  readonly #options: CopyOptions;
  readonly #chunk: number;
  readonly #turnstile = new Turnstile();
  #tickets = 0;
  #offset = 0;
  #copied = 0;
  #failed = false;

  constructor(options: CopyOptions) {
    this.#options = options;
    this.#chunk = options.compressor?.cluster ?? CHUNK;
  }

  *all(): Coroutine<void> {
    const { requests, guard } = this.#options;
    const start = (done: Completion) => run(guard(this.#work()), (error) => done(error));
    yield* waitForAll(Array.from({ length: requests }, () => start));
  }

  /** Copies part after part, until there is none left or another worker has failed. */
  *#work(): Coroutine<void> {
    const { beneath, source } = this.#options;
    const buffers: Buffers = {
      data: alignedBuffer(this.#chunk),
      beneath: typeof beneath === "string" ? undefined : alignedBuffer(this.#chunk),
    };
    try {
      while (this.#offset < source.size && !this.#failed) {
        const chunk = this.#take(Math.min(this.#chunk, source.size - this.#offset));
        const hole = yield* this.#holeAt(chunk);
        if (hole >= chunk.length) yield* this.#skip(chunk, hole);
        else yield* this.#copy(chunk, buffers);
      }
    } catch (error) {
      this.#failed = true;
      this.#turnstile.open();
      throw error;
    }
  }

  #take(length: number): Chunk {
    const chunk = { ticket: this.#tickets++, offset: this.#offset, length };
    this.#offset += length;
    return chunk;
  }

  #done(length: number): void {
    this.#copied += length;
    this.#options.progress(this.#copied);
  }

  /** How many bytes from the chunk's beginning on are known to be zero without reading them, and may be left out. */
  *#holeAt({ offset }: Chunk): Coroutine<number> {
    const { source, sparse, beneath } = this.#options;
    if (source.status === undefined || sparse === 0 || typeof beneath !== "string") return 0;
    let hole = 0;
    yield* waitFor((done) =>
      source.status!(offset, source.size - offset, (error, extent) => {
        if (extent?.zero) hole = extent.length;
        done(error);
      })
    );
    return hole;
  }

  /** Leaves out a chunk that is in a hole, and what of the hole no worker has taken yet. */
  *#skip(chunk: Chunk, hole: number): Coroutine<void> {
    const taken = chunk.offset + chunk.length;
    // Only whole chunks, so that those after the hole lie as they would without it.
    const end = chunk.offset + Math.floor(hole / this.#chunk) * this.#chunk;
    let length = chunk.length;
    if (this.#offset === taken && end > taken) {
      length = Math.min(end - chunk.offset, MOST_ZEROED);
      this.#offset = chunk.offset + length;
    }
    yield* this.#startInTurn(chunk.ticket, this.#zeroing(chunk.offset, length));
    this.#done(length);
  }

  *#copy(chunk: Chunk, { data: buffer, beneath }: Buffers): Coroutine<void> {
    const { source } = this.#options;
    const data = buffer.subarray(0, chunk.length);
    const under = beneath?.subarray(0, chunk.length);
    yield* waitForAll([
      (done) => source.read(chunk.offset, data, done),
      (done) => under === undefined ? done() : this.#readBeneath(chunk.offset, under, done),
    ]);
    yield* this.#startInTurn(chunk.ticket, this.#writes(chunk.offset, data, under));
    this.#done(chunk.length);
  }

  /** Starts requests when it is the ticket's turn, and waits for their end. */
  *#startInTurn(ticket: number, requests: readonly Wait[]): Coroutine<void> {
    const { ordered } = this.#options;
    if (ordered) yield* this.#turnstile.enter(ticket);
    yield* waitForAll([...requests, (done) => {
      if (ordered) this.#turnstile.leave();
      done();
    }]);
  }

  /** A backing file may be shorter than the disk, which then reads as zeroes beyond it. */
  #readBeneath(offset: number, into: Uint8Array, done: Completion): void {
    const beneath = this.#options.beneath as BlockDevice;
    const there = Math.max(0, Math.min(into.length, beneath.size - offset));
    into.fill(0, there);
    if (there === 0) done();
    else beneath.read(offset, into.subarray(0, there), done);
  }

  /** The requests that bring a chunk into the target. */
  #writes(offset: number, data: Uint8Array, under: Uint8Array | undefined): Wait[] {
    const { target, sparse, cluster = 65536, compressor } = this.#options;
    const same = (start: number, end: number) => {
      const part = data.subarray(start, end);
      return under === undefined ? isZero(part) : isEqual(part, under.subarray(start, end));
    };
    if (compressor !== undefined) {
      if (!same(0, data.length)) return [(done) => compressor.write(offset, data, done)];
      return under === undefined ? this.#zeroing(offset, data.length) : [];
    }
    if (sparse === 0) return [(done) => target.write(offset, data, false, done)];
    const granule = under === undefined ? sparse : cluster;
    return [...runs(data.length, granule, same)].flatMap(({ start, end, same }): Wait[] => {
      if (!same) return [(done) => target.write(offset + start, data.subarray(start, end), false, done)];
      return under === undefined ? this.#zeroing(offset + start, end - start) : [];
    });
  }

  /** The requests that make a range of the target read as zeroes. */
  #zeroing(offset: number, length: number): Wait[] {
    const { target, beneath } = this.#options;
    return beneath === "zeroes" ? [] : [(done) => target.writeZeroes(offset, length, true, done)];
  }
}

/**
 * Copies an image.
 *
 * @throws the first error that came, once no request is in flight any more.
 */
export function* copyImage(options: CopyOptions): Coroutine<void> {
  yield* new Copy(options).all();
}
