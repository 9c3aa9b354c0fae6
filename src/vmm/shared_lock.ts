/**
 * A lock between the threads of one process, in shared memory.
 *
 * @module
 */

const FREE = 0;
const HELD = 1;
/** Held, and somebody may be asleep waiting for it. */
const CONTENDED = 2;

/**
 * A mutual exclusion lock over one word of shared memory (the three-state futex lock of U. Drepper, "Futexes Are Tricky", section
 * 6). Not re-entrant. Every thread makes its own object over the same memory.
 */
export class SharedLock {
  readonly #word: Int32Array;
  #held = false;

  /** @param word One word of a SharedArrayBuffer, zero at first. */
  constructor(word: Int32Array) {
    this.#word = word;
  }

  /** Whether this thread holds it. */
  get held(): boolean {
    return this.#held;
  }

  /** Waits until the lock is free and takes it. */
  acquire(): void {
    const word = this.#word;
    if (Atomics.compareExchange(word, 0, FREE, HELD) !== FREE) {
      while (Atomics.exchange(word, 0, CONTENDED) !== FREE) Atomics.wait(word, 0, CONTENDED);
    }
    this.#held = true;
  }

  /** Takes the lock if it is free. @returns whether it was. */
  tryAcquire(): boolean {
    const taken = Atomics.compareExchange(this.#word, 0, FREE, HELD) === FREE;
    if (taken) this.#held = true;
    return taken;
  }

  /** Gives it back. */
  release(): void {
    this.#held = false;
    if (Atomics.exchange(this.#word, 0, FREE) === CONTENDED) Atomics.notify(this.#word, 0, 1);
  }

  /** Runs `body` with the lock held. */
  with<T>(body: () => T): T {
    this.acquire();
    try {
      return body();
    } finally {
      this.release();
    }
  }
}
