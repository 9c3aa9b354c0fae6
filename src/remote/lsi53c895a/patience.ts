/**
 * How long a target keeps the bus while what it needs is not there.
 *
 * To disconnect and to reselect takes some fifty SCRIPTS instructions, more time than a disk needs for what its host has in memory, and no
 * small part of what it needs for anything else. A target that nobody else waits for is better off staying connected.
 *
 * Whether somebody else waits is not known: SCRIPTS find the next command in the driver's memory only when this one lets them go on. But
 * drivers say when there is one (SIGP). One that has sent a few commands one by one, each when the one before had ended, has no other waiting.
 *
 * @module
 */
import type { Clock, Timer } from "../../device/pci_device.ts";

/** What a wait may last, in nanoseconds: about as long as it takes to disconnect and to reselect. */
export const PATIENCE_NS = 30_000;

/** What it may last where the driver sends its commands one by one: several times what a solid-state disk needs. */
export const LONG_PATIENCE_NS = 1_000_000;

/** How many commands make a habit. */
export const ONE_BY_ONE = 4;

/** The patience of the connected target. */
export class Patience {
  readonly #clock: Clock;
  readonly #timer: Timer;
  #exhausted = false;
  #signalled = false;
  /** How many commands in a row came one by one. */
  #oneByOne = 0;

  /** @param exhausted Called when a wait has lasted long enough. */
  constructor(clock: Clock, exhausted: () => void) {
    this.#clock = clock;
    this.#timer = clock.timer(() => {
      this.#exhausted = true;
      exhausted();
    });
  }

  /** The driver says that there is a new command. */
  signalled(): void {
    this.#signalled = true;
  }

  /** A command begins. @param alone Whether no other is in flight. */
  commandBegins(alone: boolean): void {
    this.#oneByOne = alone && this.#signalled ? this.#oneByOne + 1 : 0;
    this.#signalled = false;
  }

  /** Whether the target goes on waiting. The first such question begins the wait. */
  get lasts(): boolean {
    if (!this.#exhausted && this.#timer.deadline === undefined) {
      const limit = this.#oneByOne > ONE_BY_ONE ? LONG_PATIENCE_NS : PATIENCE_NS;
      this.#timer.arm(this.#clock.now() + limit);
    }
    return !this.#exhausted;
  }

  /** The wait is over. */
  restore(): void {
    this.#exhausted = false;
    if (this.#timer.deadline !== undefined) this.#timer.cancel();
  }
}
