/**
 * For how long a lane has stood still.
 *
 * @module
 */

/** Watches the oldest request of a lane. */
export class RequestAge {
  readonly #deadline: number;
  #watching = false;
  /** How many requests were done when the one that is watched became the oldest, and when that was. */
  #tail = 0;
  #since = 0;

  /** @param deadline How long a request may be the oldest, in nanoseconds. */
  constructor(deadline: number) {
    this.#deadline = deadline;
  }

  /** To be called when no request is outstanding. */
  forget(): void {
    this.#watching = false;
  }

  /**
   * To be called now and then.
   *
   * @param head How many have been made, modulo 2^32.
   * @param tail How many are done.
   * @returns whether the oldest one has been that for too long.
   */
  isOverdue(head: number, tail: number, now: number): boolean {
    if (this.#watching && head !== tail && tail === this.#tail) return now - this.#since >= this.#deadline;
    this.#watching = head !== tail;
    this.#tail = tail;
    this.#since = now;
    return false;
  }
}
