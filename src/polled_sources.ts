/**
 * What a loop looks at instead of waiting for it: rings in shared memory, to which other processes write without a system call.
 *
 * It stands outside the folders, as the loop does that has it.
 *
 * @module
 */
import { leaveProcessor } from "./ffi/processor.ts";
import { Spinner } from "./link/ring/waiting.ts";

/** Something that a loop serves by looking at it. */
export interface PolledSource {
  /** Does what is there, a bounded amount and without waiting. @returns whether there was something. */
  serve(): boolean;
  /** Whether {@linkcode serve} would find something. */
  readonly pending: boolean;
  /**
   * From now on whoever brings something wakes the loop, by a descriptor that it watches.
   *
   * @returns false when there is something already; nothing is announced then.
   */
  announceSleep(): boolean;
  /**
   * Takes the announcement back, if there is one.
   *
   * @returns how long the wake-up took, in nanoseconds, if somebody has woken the loop for this source; it may be made up.
   */
  awake(): number | undefined;
}

/** Of so many looks, which take nanoseconds, one is at the descriptors, which takes a system call. */
const LOOKS = 32;

/** All polled sources of one loop, which waits for them together. */
export class PolledSources {
  readonly #sources = new Set<PolledSource>();
  readonly #spinner: Spinner;
  readonly #look: () => boolean;
  #looks = 0;
  // Made once, not for every spin.
  readonly #find = () => this.serve() || ++this.#looks % LOOKS === 0 && this.#look();

  /** @param look Does what descriptors are ready for, without waiting. @returns whether there was something. */
  constructor(look: () => boolean, spinner: Spinner = new Spinner({ onVain: leaveProcessor })) {
    this.#look = look;
    this.#spinner = spinner;
  }

  get size(): number {
    return this.#sources.size;
  }

  add(source: PolledSource): void {
    this.#sources.add(source);
  }

  delete(source: PolledSource): void {
    this.#sources.delete(source);
  }

  /** Serves each of them. @returns whether there was something. */
  serve(): boolean {
    let served = false;
    for (const source of this.#sources) served = source.serve() || served;
    return served;
  }

  /**
   * Looks for a while, at descriptors as well, and does what it finds.
   *
   * @param latest When something else is due, in nanoseconds of CLOCK_MONOTONIC.
   * @returns whether it found something; if not, it is time to sleep.
   */
  spin(latest: number): boolean {
    return this.#spinner.spin(this.#find, latest);
  }

  /**
   * Announces that the loop sleeps, to all of them.
   *
   * @returns false when one has something already: the loop may not sleep, and nothing is announced.
   */
  announceSleep(): boolean {
    for (const source of this.#sources) {
      if (source.announceSleep()) continue;
      for (const announced of this.#sources) announced.awake();
      return false;
    }
    return true;
  }

  /** To be called when the loop has slept. */
  awake(): void {
    for (const source of this.#sources) this.#spinner.noteWakeUp(source.awake());
    // A sleep that something else ended says nothing about how soon the next request comes.
    for (const { pending } of this.#sources) if (pending) return this.#spinner.woken();
  }
}
