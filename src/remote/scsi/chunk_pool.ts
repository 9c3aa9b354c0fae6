/**
 * Buffers for data phases. A chunk of a large transfer is 256 KiB; a four-kilobyte read should not hold that much.
 *
 * @module
 */
import { Chunk } from "./chunk.ts";

/** The largest chunk, in bytes. */
export const MAX_CHUNK = 256 * 1024;

const SMALLEST = 4096;

/** How many idle bytes a pool keeps. */
const KEEP = 8 * MAX_CHUNK;

/** How many bytes a pool lends beyond one chunk for each borrower. */
const SPARE = 64 * MAX_CHUNK;

/** Where buffers come from. */
export interface ChunkPoolOptions {
  /**
   * Makes a buffer; it is kept or left to the garbage collector. For images that are read and written without copying where buffers lie at certain
   * addresses.
   *
   * @param bytes A power of two from 4 KiB to 256 KiB.
   * @default {an ordinary Uint8Array}
   */
  readonly allocate?: (bytes: number) => Uint8Array;
}

/**
 * Chunks of a few sizes that go round. What is lent out is bounded: by the borrowers, of which there is a bounded number with one chunk of
 * {@linkcode take} each, and by the pool for those of {@linkcode takeMore}. What lies idle is bounded, too.
 */
export class ChunkPool {
  readonly #allocate: (bytes: number) => Uint8Array;
  readonly #idle = new Map<number, Chunk[]>();
  #kept = 0;
  #spare = SPARE;

  constructor({ allocate = (bytes) => new Uint8Array(bytes) }: ChunkPoolOptions = {}) {
    this.#allocate = allocate;
  }

  /**
   * Lends a chunk of at least `length` bytes, or of {@linkcode MAX_CHUNK} when that is less. Its contents are undefined.
   */
  take(length: number): Chunk {
    let size = SMALLEST;
    while (size < length && size < MAX_CHUNK) size *= 2;
    const reused = this.#idle.get(size)?.pop();
    if (reused === undefined) return new Chunk(this.#allocate(size));
    this.#kept -= size;
    return reused;
  }

  /** Lends a chunk to somebody who has one already, as long as there are not too many of these. */
  takeMore(length: number): Chunk | undefined {
    if (this.#spare < MAX_CHUNK) return undefined;
    const chunk = this.take(length);
    chunk.extra = true;
    this.#spare -= chunk.buffer.length;
    return chunk;
  }

  /** Takes back what was lent; nobody may use it afterwards, a block request in flight included. */
  give(chunk: Chunk): void {
    const size = chunk.buffer.length;
    if (chunk.extra) this.#spare += size;
    chunk.extra = false;
    if (this.#kept + size > KEEP) return;
    const idle = this.#idle.get(size);
    if (idle === undefined) this.#idle.set(size, [chunk]);
    else idle.push(chunk);
    this.#kept += size;
  }
}
