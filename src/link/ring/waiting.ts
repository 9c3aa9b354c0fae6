/**
 * Waiting for another processor: by looking again and again for a while, and then asleep.
 *
 * A wake-up takes the kernel between 5 and 100 µs, more where processors are emulated; a look takes nanoseconds. How long to look before
 * going to sleep is a matter of what that saves: {@linkcode Spinner.noteWakeUp}. But to look is of use only while the other side runs, on
 * another processor. So the time spent on it follows what it brought: it is halved each time that it brought nothing, and is whole again
 * as soon as it brought something. Who does not look at all finds nothing, so there is a second way back: a sleep that was short is a sign
 * that looking would have been better, and it is tried. Where both sides share one processor sleeps are short as well, and each try is in vain: each
 * doubles the number of short sleeps that it takes to try again.
 *
 * @module
 */
import { monotonicNow } from "../../ffi/clock.ts";

/** How a {@linkcode Spinner} waits. */
export interface SpinOptions {
  /** The longest time, in nanoseconds, while nothing is known of wake-ups; 0 for none at all, ever. @default {50_000} */
  readonly longest?: number;
  /** Nanoseconds. @default {monotonicNow} */
  readonly clock?: () => number;
  /**
   * Called when sleeps are short and looking brings nothing all the same: both sides may be on one processor. @default {nothing happens}
   */
  readonly onVain?: () => void;
}

const LONGEST = 50_000;

/** To look is worth so many times what a wake-up takes, but never longer than this, in nanoseconds. */
const [WORTH, LIMIT] = [4, 1e6];

/** A wake-up that is said to have taken longer, in nanoseconds, was none: all was frozen, or it is a lie. */
const LONGEST_WAKE_UP = 10e6;

/** Of so many wake-ups the time is averaged, older ones counting less and less. */
const AVERAGED = 16;

/** Less than this is not worth a look at the clock. */
const SHORTEST = 1_000;

/** A sleep is short that lasts less than this, in nanoseconds: two slow wake-ups, of the other side and then of this one, and some work. */
const SHORT_SLEEP = 300_000;

/** Of so many short sleeps one leads to a try, even if none has brought anything for long. */
const MOST_SLEEPS = 256;

/** Looks between two readings of the clock. */
const LOOKS = 8;

/** Looks at something for a time that adapts itself. One for each thing that is waited for. */
export class Spinner {
  /** The longest time while nothing is known of wake-ups, and by now. */
  readonly #atFirst: number;
  #longest: number;
  /** What a wake-up takes, as far as is known. */
  #wakeUp: number | undefined;
  readonly #clock: () => number;
  readonly #onVain: (() => void) | undefined;
  #budget: number;
  /** When the last spin ended in vain. */
  #since = 0;
  /** Whether the budget is what it is because of short sleeps, how many there were since the last try, and how many it takes. */
  #trying = false;
  #sleeps = 0;
  #sleepsToTry = 1;

  constructor({ longest = LONGEST, clock = monotonicNow, onVain }: SpinOptions = {}) {
    this.#atFirst = this.#longest = longest;
    this.#clock = clock;
    this.#onVain = onVain;
    this.#budget = longest;
  }

  /**
   * Looks until `ready` or until it is time to sleep.
   *
   * @param latest When something else is due, in nanoseconds of the clock. @default {Infinity}
   * @returns whether it is ready.
   */
  spin(ready: () => boolean, latest = Infinity): boolean {
    if (this.#budget < SHORTEST) {
      this.#since = this.#clock();
      return false;
    }
    for (let start = 0;;) {
      for (let look = 0; look < LOOKS; look++) {
        if (ready()) return this.#hit();
        Atomics.pause();
      }
      const now = this.#since = this.#clock();
      if (start === 0) start = now; // what is ready at once costs no look at the clock
      if (now >= latest) return false; // which says nothing about the other side
      if (now - start >= this.#budget) return this.#miss();
    }
  }

  /** To be called after a sleep that followed a spin in vain, when what was waited for is there. */
  woken(): void {
    if (this.#longest < SHORTEST) return;
    const short = Math.max(SHORT_SLEEP, this.#longest + (this.#wakeUp ?? 0));
    if (this.#clock() - this.#since >= short) return;
    if (++this.#sleeps < this.#sleepsToTry) return;
    this.#sleeps = 0;
    this.#trying = true;
    this.#budget = this.#longest;
  }

  /** To be called for each sleep, with what the wake-up took in nanoseconds if it is known: looking is worth several times that. */
  noteWakeUp(time: number | undefined): void {
    if (time === undefined || time < 0 || time > LONGEST_WAKE_UP || this.#atFirst < SHORTEST) return;
    const average = this.#wakeUp ?? time;
    this.#wakeUp = average + (time - average) / AVERAGED;
    this.#longest = Math.min(Math.max(this.#atFirst, WORTH * this.#wakeUp), LIMIT);
  }

  #hit(): true {
    this.#budget = this.#longest;
    this.#trying = false;
    this.#sleepsToTry = 1;
    return true;
  }

  #miss(): false {
    if (!this.#trying) {
      this.#budget >>>= 1;
      return false;
    }
    this.#budget = 0;
    this.#sleepsToTry = Math.min(2 * this.#sleepsToTry, MOST_SLEEPS);
    this.#trying = false;
    this.#onVain?.();
    return false;
  }
}
