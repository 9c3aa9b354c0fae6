/**
 * How long requests have been waiting.
 *
 * @module
 */

/** Watches one request of a lane at a time, so that each is noticed that is twice as old as it may be, or older. */
export class RequestAge {
  readonly #deadline: number;
  #watching = false;
  #request = 0;
  #since = 0;

  /** @param deadline How old a request may become, in nanoseconds. */
  constructor(deadline: number) {
    this.#deadline = deadline;
  }

  /** To be called when no request is outstanding. */
  forget(): void {
    this.#watching = false;
  }

  /**
   * To be called now and then, so often that numbers do not wrap around in between.
   *
   * @param head How many have been made, modulo 2^32.
   * @param tail How many are done.
   * @returns whether the request that is watched is not done, and is too old.
   */
  isOverdue(head: number, tail: number, now: number): boolean {
    if (this.#watching && ((this.#request - tail) | 0) >= 0) return now - this.#since >= this.#deadline;
    this.#watching = head !== tail;
    this.#request = (head - 1) | 0;
    this.#since = now;
    return false;
  }
}
