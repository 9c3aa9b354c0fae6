/**
 * Locks between requests of one image: for ranges of the disk, and for all of its metadata.
 *
 * @module
 */
import { type Coroutine, waitFor } from "./coroutine.ts";

/** A range that is held or waited for; ends are not included. */
export interface RangeHold {
  readonly start: number;
  readonly end: number;
  readonly exclusive: boolean;
}

interface Waiter extends RangeHold {
  readonly granted: () => void;
}

/**
 * A lock for ranges: any number of shared holders, or one exclusive holder, of each byte.
 *
 * First come, first served: whoever conflicts with one that waits, waits behind it. The lists are as long as there are requests
 * in flight, few enough to be walked.
 */
export class RangeLock {
  readonly #held: RangeHold[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #turns = new Turns();

  /** Takes the range if that needs no waiting. */
  tryAcquire(start: number, end: number, exclusive: boolean): RangeHold | undefined {
    if (conflicts(this.#held, start, end, exclusive) || conflicts(this.#waiting, start, end, exclusive)) {
      return undefined;
    }
    const hold = { start, end, exclusive };
    this.#held.push(hold);
    return hold;
  }

  /** Waits for the range. */
  *acquire(start: number, end: number, exclusive: boolean): Coroutine<RangeHold> {
    const hold = this.tryAcquire(start, end, exclusive);
    if (hold !== undefined) return hold;
    let waiter: Waiter | undefined;
    yield* waitFor((done) => {
      waiter = { start, end, exclusive, granted: done };
      this.#waiting.push(waiter);
    });
    return waiter as Waiter;
  }

  release(hold: RangeHold): void {
    const at = this.#held.indexOf(hold);
    const last = this.#held.pop();
    if (last !== undefined && last !== hold) this.#held[at] = last;
    if (this.#waiting.length > 0) this.#turns.take(() => this.#grant());
  }

  /** Lets in all who conflict neither with a holder nor with anyone who waits longer. */
  #grant(): void {
    const granted: Waiter[] = [];
    for (let i = 0; i < this.#waiting.length;) {
      const waiter = this.#waiting[i];
      const { start, end, exclusive } = waiter;
      if (conflicts(this.#held, start, end, exclusive) || conflicts(this.#waiting, start, end, exclusive, i)) {
        i++;
        continue;
      }
      this.#waiting.splice(i, 1);
      this.#held.push(waiter);
      granted.push(waiter);
    }
    for (const waiter of granted) waiter.granted();
  }
}

function conflicts(
  holds: readonly RangeHold[],
  start: number,
  end: number,
  exclusive: boolean,
  count = holds.length,
): boolean {
  for (let i = 0; i < count; i++) {
    const hold = holds[i];
    if ((exclusive || hold.exclusive) && hold.start < end && start < hold.end) return true;
  }
  return false;
}

/** Runs something again rather than within itself: a row of waiters that all end at once would otherwise fill the stack. */
class Turns {
  #running = false;
  #again = false;

  take(turn: () => void): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#again) {
        this.#again = false;
        turn();
      }
    } finally {
      this.#running = false;
    }
  }
}

/** A lock with one holder, first come, first served. */
export class Mutex {
  #held = false;
  readonly #waiting: (() => void)[] = [];
  readonly #turns = new Turns();

  /** Runs `body` while nobody else holds the lock. */
  *hold<T>(body: () => Coroutine<T>): Coroutine<T> {
    if (this.#held) yield* waitFor((done) => this.#waiting.push(done));
    else this.#held = true;
    try {
      return yield* body();
    } finally {
      this.#turns.take(() => this.#handOver());
    }
  }

  #handOver(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#held = false;
    else next();
  }
}
