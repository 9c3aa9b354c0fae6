/**
 * How often, and when, a device process that was lost is started again (`restart=`).
 *
 * Two things may go wrong again and again, and mean different things. A process that served the guest and is lost soon after, each time, has
 * been brought down by something that the next one will find as well. A start that comes to nothing says something of the host: an image is
 * away or in use for a while.
 *
 * @module
 */

/** A process that is lost within this time after it began to serve, in milliseconds, so many times in a row, will not do better next time. */
const TRIAL = 10_000;
const MOST_TRIALS = 5;

/** How long it is waited after a start that came to nothing, in milliseconds; twice as long after each further one. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

/** For how long starts are tried for one lost process where there is a limit to restarts at all, in milliseconds. */
const LONGEST_SEARCH = 60_000;

/** What is to be done. */
export type RestartDecision =
  | { readonly restart: true; /** Milliseconds until then. */ readonly pause: number }
  | {
    readonly restart: false; /** Why not; `undefined` where nobody asked for it. */
    readonly why: string | undefined;
  };

/** Decides for one device. Times are milliseconds of a clock that never goes back. */
export class RestartPolicy {
  readonly #most: number;
  #servedFrom: number;
  #lostAt = 0;
  #restarts = 0;
  #trials = 0;
  #failedStarts = 0;

  /**
   * @param most How many processes there may be besides the first; Infinity is for as many as it takes, unless they fail at once again and
   * again.
   * @param now When the first process began to serve.
   */
  constructor(most: number, now: number) {
    this.#most = most;
    this.#servedFrom = now;
  }

  /** How many processes have been replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The process that served the guest is lost. */
  lost(now: number): RestartDecision {
    this.#trials = now - this.#servedFrom < TRIAL ? this.#trials + 1 : 0;
    this.#lostAt = now;
    this.#failedStarts = 0;
    const why = this.#objection();
    return why !== undefined || this.#most === 0 ? { restart: false, why } : { restart: true, pause: 0 };
  }

  /** A start has come to nothing. */
  startFailed(now: number): RestartDecision {
    if (this.#most !== Infinity && now - this.#lostAt >= LONGEST_SEARCH) {
      return { restart: false, why: `no start has succeeded for ${LONGEST_SEARCH / 1000} s` };
    }
    const pause = FIRST_PAUSE * 2 ** this.#failedStarts++;
    return { restart: true, pause: Math.min(pause, LONGEST_PAUSE) };
  }

  /** A new process serves the guest. */
  served(now: number): void {
    this.#servedFrom = now;
    this.#restarts++;
  }

  #objection(): string | undefined {
    if (this.#most === 0) return undefined;
    if (this.#restarts >= this.#most) {
      const times = this.#most === 1 ? "once" : `${this.#most} times`;
      return `it has been started again ${times}, which is all that restart= allows`;
    }
    if (this.#most !== Infinity || this.#trials < MOST_TRIALS) return undefined;
    return `it has failed ${MOST_TRIALS} times in a row within ${TRIAL / 1000} s of its start`;
  }
}
