/**
 * Finds a device process that does not carry out what was posted to it, when no vCPU waits for it.
 *
 * @module
 */
import { LinkError } from "../link_error.ts";
import { Lane, laneAt, type RingGeometry, type RingMemory } from "./layout.ts";
import { RequestAge } from "./request_age.ts";

/** Between two checks not more than so much time counts, in nanoseconds. */
const LONGEST_STEP = 2e9;

/**
 * Watches all lanes of a ring, from any one thread of the VMM: a vCPU that has posted a store may be in the guest for as long as that likes.
 *
 * A peer can write what it likes to the words that are read here; all that it can bring about is what it could by its deeds, to be found
 * dead or alive.
 */
export class StallWatch {
  readonly #words: Int32Array;
  readonly #lanes: readonly number[];
  readonly #ages: readonly RequestAge[];
  readonly #deadline: number;
  /** Nanoseconds in which this watch was there: when all is frozen, the peer has no time either. */
  #time = 0;
  #last: number | undefined;

  /** @param deadline How long the peer may take for one access, in nanoseconds. */
  constructor({ words }: RingMemory, geometry: RingGeometry, deadline: number) {
    this.#words = words;
    this.#lanes = Array.from({ length: geometry.lanes }, (_, lane) => laneAt(lane, geometry));
    this.#ages = this.#lanes.map(() => new RequestAge(deadline));
    this.#deadline = deadline;
  }

  /**
   * To be called every second or so.
   *
   * @param now Nanoseconds; never goes back.
   * @returns what is wrong, if the peer is too slow.
   */
  check(now: number): LinkError | undefined {
    this.#time += Math.min(now - (this.#last ?? now), LONGEST_STEP);
    this.#last = now;
    const overdue = this.#lanes.some((lane, i) => {
      const head = Atomics.load(this.#words, lane + Lane.HEAD);
      return this.#ages[i].isOverdue(head, Atomics.load(this.#words, lane + Lane.TAIL), this.#time);
    });
    if (!overdue) return undefined;
    return new LinkError(
      `a posted write has not been carried out for ${Math.round(this.#deadline / 1e6)} ms`,
      "timeout",
    );
  }
}
