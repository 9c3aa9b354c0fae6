/**
 * A call to another thread to look again, through one word of shared memory.
 *
 * @module
 */

/**
 * Longest wait without a look, in milliseconds. The promise of `Atomics.waitAsync` is settled by a task that has to wake the event loop of
 * another thread; a console whose input stood still for good has been seen once in some hundreds of runs, and a timer of the loop's
 * own ends such a pause, whatever caused it.
 */
const LOOK_AGAIN = 100;

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
   * Resolves when somebody has called since `count` was taken, or after `timeout` milliseconds; now and then also without
   * either, so the caller looks again in any case.
   *
   * @returns whether that took a wait; without one, the event loop has not had a turn.
   */
  async changed(count: number, timeout = Infinity): Promise<boolean> {
    const longest = Math.min(timeout, LOOK_AGAIN);
    const wait = Atomics.waitAsync(this.#word, 0, count, longest);
    if (!wait.async) return false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const turn = new Promise<void>((resolve) => timer = setTimeout(resolve, longest));
    await Promise.race([wait.value, turn]);
    clearTimeout(timer);
    return true;
  }
}
