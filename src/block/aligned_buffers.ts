/**
 * Memory for direct I/O, which the kernel moves to and from the disk without a copy.
 *
 * @module
 */
import { lastingAddress } from "../ffi/memory.ts";
import { type Coroutine, waitFor } from "./coroutine.ts";

/** Pages of the processor: no disk or file system asks for more. */
const PAGE = 4096;

/**
 * Makes a buffer whose address is a multiple of 4096, as O_DIRECT wants it. It is JavaScript's own memory: the garbage collector takes it
 * back when nobody, a request in flight included, can reach it.
 */
export function alignedBuffer(length: number): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(length + PAGE);
  const start = (PAGE - lastingAddress(room) % PAGE) % PAGE;
  return room.subarray(start, start + length);
}

/** The largest buffer that a {@linkcode BouncePool} lends. */
export const MAX_BOUNCE = 2 ** 20;

const SMALLEST = PAGE;

/** How many bytes may be lent, and how many lie idle. */
const MOST_LENT = 16 * MAX_BOUNCE;
const MOST_IDLE = 4 * MAX_BOUNCE;

/** Aligned buffers that data pass through on their way to memory that is not aligned. */
export class BouncePool {
  readonly #idle = new Map<number, Uint8Array[]>();
  #idleBytes = 0;
  #lent = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * Lends a buffer of at least `length` bytes, or of {@linkcode MAX_BOUNCE} when that is less; waits while too much is lent. Its contents are
   * undefined. Whoever has one asks for no second.
   */
  *take(length: number): Coroutine<Uint8Array> {
    let size = SMALLEST;
    while (size < length && size < MAX_BOUNCE) size *= 2;
    while (this.#lent + size > MOST_LENT) yield* waitFor((done) => void this.#waiting.push(done));
    this.#lent += size;
    const reused = this.#idle.get(size)?.pop();
    if (reused === undefined) return alignedBuffer(size);
    this.#idleBytes -= size;
    return reused;
  }

  /** Takes back what {@linkcode take} lent. */
  give(buffer: Uint8Array): void {
    const size = buffer.length;
    this.#lent -= size;
    if (this.#idleBytes + size <= MOST_IDLE) {
      this.#idleBytes += size;
      const idle = this.#idle.get(size);
      if (idle === undefined) this.#idle.set(size, [buffer]);
      else idle.push(buffer);
    }
    for (const proceed of this.#waiting.splice(0)) proceed();
  }
}
