/**
 * The clock of the platform devices: it stands still while the machine does.
 *
 * @module
 */
import { monotonicNow } from "../ffi/clock.ts";

/** Shared words. */
const Word = {
  /** Nanoseconds for which the clock has stood still, all in all. */
  STOPPED: 0,
  /** The reading at which it stands still; 0 while it runs. */
  READING: 1,
} as const;

/** Bytes of shared memory that a clock needs. */
export const MACHINE_CLOCK_SIZE = 16;

/** Nanoseconds since the machine was made, less those for which it stood still. Read and changed under the machine's lock. */
export class MachineClock {
  readonly #words: Float64Array;
  readonly #startedAt: number;

  /**
   * @param memory {@linkcode MACHINE_CLOCK_SIZE} bytes, zero at first.
   * @param startedAt When the machine was made, in nanoseconds of CLOCK_MONOTONIC.
   */
  constructor(memory: SharedArrayBuffer, startedAt: number) {
    this.#words = new Float64Array(memory);
    this.#startedAt = startedAt;
  }

  /** Whether it stands still. */
  get stopped(): boolean {
    return this.#words[Word.READING] !== 0;
  }

  /** Never goes back; the same on all threads. */
  now(): number {
    const reading = this.#words[Word.READING];
    return reading > 0 ? reading : this.#running();
  }

  /** Has it stand still. Calling it again does nothing. */
  stop(): void {
    if (this.#words[Word.READING] === 0) this.#words[Word.READING] = Math.max(1, this.#running());
  }

  /** Has it go on. Calling it again does nothing. */
  start(): void {
    const reading = this.#words[Word.READING];
    if (reading === 0) return;
    this.#words[Word.STOPPED] += this.#running() - reading;
    this.#words[Word.READING] = 0;
  }

  #running(): number {
    return monotonicNow() - this.#startedAt - this.#words[Word.STOPPED];
  }
}
