/**
 * How long a target keeps the bus while what it needs is not there.
 *
 * To disconnect and to reselect takes some fifty SCRIPTS instructions, more time than a disk needs for what its host has in memory. A
 * target that nobody else waits for is better off staying connected for a moment.
 *
 * @module
 */
import type { Clock, Timer } from "../../device/pci_device.ts";

/** What a wait may last, in nanoseconds: about as long as it takes to disconnect and to reselect. */
export const PATIENCE_NS = 30_000;

/** The patience of the connected target. */
export class Patience {
  readonly #clock: Clock;
  readonly #timer: Timer;
  #exhausted = false;

  /** @param exhausted Called when a wait has lasted long enough. */
  constructor(clock: Clock, exhausted: () => void) {
    this.#clock = clock;
    this.#timer = clock.timer(() => {
      this.#exhausted = true;
      exhausted();
    });
  }

  /** Whether the target goes on waiting. The first such question begins the wait. */
  get lasts(): boolean {
    if (!this.#exhausted && this.#timer.deadline === undefined) this.#timer.arm(this.#clock.now() + PATIENCE_NS);
    return !this.#exhausted;
  }

  /** The wait is over. */
  restore(): void {
    this.#exhausted = false;
    if (this.#timer.deadline !== undefined) this.#timer.cancel();
  }
}
