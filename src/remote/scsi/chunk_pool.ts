/**
 * Buffers for data phases. A chunk of a large transfer is 256 KiB; a four-kilobyte read should not hold that much.
 *
 * @module
 */

/** The largest chunk, in bytes. */
export const MAX_CHUNK = 256 * 1024;

const SMALLEST = 4096;

/** How many idle bytes a pool keeps. */
const KEEP = 8 * MAX_CHUNK;

/**
 * Buffers of a few sizes that go round. What is lent out is bounded by the borrower (one buffer of at most
 * {@linkcode MAX_CHUNK} for each task, and a bounded number of tasks); what lies idle is bounded here.
 */
export class ChunkPool {
  readonly #idle = new Map<number, Uint8Array[]>();
  #kept = 0;

  /**
   * Lends a buffer of at least `length` bytes, or of {@linkcode MAX_CHUNK} when that is less. Its contents are undefined.
   */
  take(length: number): Uint8Array {
    let size = SMALLEST;
    while (size < length && size < MAX_CHUNK) size *= 2;
    const reused = this.#idle.get(size)?.pop();
    if (reused === undefined) return new Uint8Array(size);
    this.#kept -= size;
    return reused;
  }

  /** Takes back what {@linkcode take} lent; nobody may use it afterwards, a block request in flight included. */
  give(buffer: Uint8Array): void {
    const size = buffer.length;
    if (this.#kept + size > KEEP) return;
    const idle = this.#idle.get(size);
    if (idle === undefined) this.#idle.set(size, [buffer]);
    else idle.push(buffer);
    this.#kept += size;
  }
}
