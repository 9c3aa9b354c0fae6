/**
 * Waiting for another processor: by looking again and again for a while, and then asleep.
 *
 * A wake-up takes the kernel between 5 and 100 µs, a look takes nanoseconds; but to look is of use only while the other side runs, on
 * another processor. So the time spent on it follows what it brought: it is halved each time that it brought nothing, and is whole again
 * as soon as it brought something. Where both sides share one processor it is soon zero, and each goes to sleep at once for the other to run. Now
 * and then it is tried again, since processes move.
 *
 * @module
 */
import { monotonicNow } from "../../ffi/clock.ts";

/** How a {@linkcode Spinner} waits. */
export interface SpinOptions {
  /** The longest time, in nanoseconds; 0 for none at all. @default {50_000} */
  readonly longest?: number;
  /** Nanoseconds. @default {monotonicNow} */
  readonly clock?: () => number;
}

const LONGEST = 50_000;

/** Less than this is not worth a look at the clock. */
const SHORTEST = 1_000;

/** Of so many waits that would not spin at all, one does. */
const PROBE_INTERVAL = 1024;

/** Looks between two readings of the clock. */
const LOOKS = 8;

/** Looks at something for a time that adapts itself. One for each thing that is waited for. */
export class Spinner {
  readonly #longest: number;
  readonly #clock: () => number;
  #budget: number;
  #skipped = 0;

  constructor({ longest = LONGEST, clock = monotonicNow }: SpinOptions = {}) {
    this.#longest = longest;
    this.#clock = clock;
    this.#budget = longest;
  }

  /**
   * Looks until `ready` or until it is time to sleep.
   *
   * @param latest When something else is due, in nanoseconds of the clock. @default {Infinity}
   * @returns whether it is ready.
   */
  spin(ready: () => boolean, latest = Infinity): boolean {
    const budget = this.#next();
    if (budget === 0) return false;
    for (let start = 0;;) {
      for (let look = 0; look < LOOKS; look++) {
        if (ready()) {
          this.#budget = this.#longest;
          return true;
        }
        Atomics.pause();
      }
      const now = this.#clock();
      if (start === 0) start = now; // what is ready at once costs no look at the clock
      if (now >= latest) return false; // which says nothing about the other side
      if (now - start >= budget) {
        this.#budget = Math.min(budget, this.#budget) >>> 1; // a try in vain leaves it as small as it was
        return false;
      }
    }
  }

  #next(): number {
    if (this.#budget >= SHORTEST) return this.#budget;
    if (this.#longest < SHORTEST || ++this.#skipped < PROBE_INTERVAL) return 0;
    this.#skipped = 0;
    return this.#longest;
  }
}
