/**
 * How often, and when, a device process that was lost is started again (`restart=`).
 *
 * @module
 */

/** A process that fails within this time after its start, in milliseconds, so many times in a row, will not do better next time. */
const TRIAL = 10_000;
const MOST_TRIALS = 5;

/** How long it is waited after a start that came to nothing, in milliseconds; twice as long after each further one. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

/** What is to be done. */
export type RestartDecision =
  | { readonly restart: true; /** Milliseconds until then. */ readonly pause: number }
  | {
    readonly restart: false; /** Why not; `undefined` where nobody asked for it. */
    readonly why: string | undefined;
  };

/** Decides for one device. */
export class RestartPolicy {
  readonly #most: number;
  #startedAt: number;
  #restarts = 0;
  #trials = 0;
  #failedStarts = 0;

  /**
   * @param most How many starts there may be besides the first; Infinity is for as many as it takes, unless it fails at once again and again.
   * @param now Milliseconds of a clock that never goes back: when the first process was started.
   */
  constructor(most: number, now: number) {
    this.#most = most;
    this.#startedAt = now;
  }

  /** How many further starts there have been. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The process has failed, or could not be started. A decision to start it counts. */
  decide(now: number): RestartDecision {
    this.#trials = now - this.#startedAt < TRIAL ? this.#trials + 1 : 0;
    const why = this.#objection();
    if (why !== undefined || this.#most === 0) return { restart: false, why };
    const pause = this.#failedStarts === 0 ? 0 : FIRST_PAUSE * 2 ** (this.#failedStarts - 1);
    this.#restarts++;
    return { restart: true, pause: Math.min(pause, LONGEST_PAUSE) };
  }

  /** A start begins. */
  begin(now: number): void {
    this.#startedAt = now;
  }

  /** It has come to nothing. */
  noteFailedStart(): void {
    this.#failedStarts++;
  }

  /** The device lives. */
  noteStarted(now: number): void {
    this.#startedAt = now;
    this.#failedStarts = 0;
  }

  #objection(): string | undefined {
    if (this.#most === 0) return undefined;
    if (this.#restarts >= this.#most) return `it has been ${this.#most} times, which is all that restart= allows`;
    if (this.#most !== Infinity || this.#trials < MOST_TRIALS) return undefined;
    return `it has failed ${MOST_TRIALS} times in a row within ${TRIAL / 1000} s of its start`;
  }
}
