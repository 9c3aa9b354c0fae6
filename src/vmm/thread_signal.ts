/**
 * A call to a thread with an event loop to look again: a count in shared memory, and an eventfd for when that thread waits, among the other
 * descriptors that it waits for.
 *
 * @module
 */
import type { Watch } from "../watches.ts";
import { drainEventFd, Ready, signalEventFd } from "../ffi/event.ts";

/** Words of the shared memory. */
const Word = { COUNT: 0, WAITING: 1 } as const;

/** Bytes of shared memory for {@linkcode ThreadSignal}. */
export const THREAD_SIGNAL_SIZE = 8;

/** What a thread watches descriptors with. */
export interface Watcher {
  watch(fd: number, events: number, ready: () => void): Watch;
}

/** Counts calls; the one thread that waits looks again when it has seen an older count. */
export class ThreadSignal {
  readonly #words: Int32Array;
  readonly #eventFd: number;
  #wake: (() => void) | undefined;

  /**
   * @param memory {@linkcode THREAD_SIGNAL_SIZE} bytes, zero at first.
   * @param eventFd The signal's own.
   */
  constructor(memory: SharedArrayBuffer, eventFd: number) {
    this.#words = new Int32Array(memory);
    this.#eventFd = eventFd;
  }

  /** The count so far: take it before looking, and wait with it afterwards. */
  get count(): number {
    return Atomics.load(this.#words, Word.COUNT);
  }

  /** Calls. A system call only where the other thread waits. */
  notify(): void {
    Atomics.add(this.#words, Word.COUNT, 1);
    if (Atomics.exchange(this.#words, Word.WAITING, 0) !== 0) signalEventFd(this.#eventFd);
  }

  /** For the thread that waits, once: where it learns of descriptors that are ready. */
  watch(watcher: Watcher): void {
    watcher.watch(this.#eventFd, Ready.IN, () => {
      drainEventFd(this.#eventFd);
      this.#wake?.();
    });
  }

  /**
   * Resolves when somebody has called since `count` was taken, or after `timeout` milliseconds; perhaps also without either, so
   * the caller looks again in any case. One wait at a time.
   *
   * @returns whether that took a wait; without one, the event loop has not had a turn.
   */
  async changed(count: number, timeout = Infinity): Promise<boolean> {
    // The flag goes up before the count is read again: a caller either raised the count before that, or sees the flag.
    Atomics.store(this.#words, Word.WAITING, 1);
    if (this.count !== count || timeout <= 0) {
      Atomics.store(this.#words, Word.WAITING, 0);
      return false;
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (timeout !== Infinity) timer = setTimeout(resolve, timeout);
    });
    clearTimeout(timer);
    this.#wake = undefined;
    return true;
  }
}
