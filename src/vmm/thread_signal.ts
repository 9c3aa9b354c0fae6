/**
 * A call to another thread to look again, through one word of shared memory.
 *
 * @module
 */

/** Counts calls; whoever has seen an older count looks again. */
export class ThreadSignal {
  readonly #word: Int32Array;

  /** @param memory 4 bytes, zero at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  /** The count so far: take it before looking, and wait with it afterwards. */
  get count(): number {
    return Atomics.load(this.#word, 0);
  }

  /** Calls. */
  notify(): void {
    Atomics.add(this.#word, 0, 1);
    Atomics.notify(this.#word, 0);
  }

  /**
   * Resolves when somebody has called since `count` was taken, or after `timeout` milliseconds.
   *
   * @returns whether that took a wait; without one, the event loop has not had a turn.
   */
  async changed(count: number, timeout?: number): Promise<boolean> {
    const wait = Atomics.waitAsync(this.#word, 0, count, timeout);
    if (wait.async) await wait.value;
    return wait.async;
  }
}
