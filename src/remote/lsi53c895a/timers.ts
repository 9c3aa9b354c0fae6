/**
 * The chip's three timers: general purpose, handshake-to-handshake, and selection.
 *
 * Source: manual, SCSI Timer Zero (STIME0) and One (STIME1). Periods are those of a correctly programmed clock
 * prescaler (SCNTL3.CCF), whatever it holds.
 *
 * @module
 */
import type { Clock, Timer } from "../../device/pci_device.ts";
import { Reg, type RegisterFile, Sist1, Stime1 } from "./registers.ts";

/** The shortest period, for a field of 1; each step up doubles it. */
const UNIT_NS = 125_000;
/** What the scale bits (GENSF, HTHSF) multiply by. */
const SCALE = 16;
/** The selection time-out for a driver that has not set one (SCSI-2, section 5.11: 250 ms recommended). */
const DEFAULT_SELECTION = 12;

/** Nanoseconds for a 4-bit timer field that is not zero. */
export function timerPeriod(field: number, scaled: boolean): number {
  return UNIT_NS * 2 ** (field - 1) * (scaled ? SCALE : 1);
}

/** The timers. */
export class ChipTimers {
  readonly #file: RegisterFile;
  readonly #clock: Clock;
  readonly #general: Timer;
  readonly #handshake: Timer;
  readonly #selection: Timer;

  /**
   * @param expired Called with the SIST1 bit of the timer that has expired.
   */
  constructor(file: RegisterFile, clock: Clock, expired: (sist1: number) => void) {
    this.#file = file;
    this.#clock = clock;
    this.#general = clock.timer(() => expired(Sist1.GEN));
    this.#handshake = clock.timer(() => expired(Sist1.HTH));
    this.#selection = clock.timer(() => expired(Sist1.STO));
  }

  /**
   * STIME1 has been written; `previous` is what it held. Zero stops the general purpose timer. A running timer does not
   * restart by writing the same period again.
   */
  generalWritten(previous: number): void {
    const value = this.#file.bytes[Reg.STIME1];
    const field = value & Stime1.GEN;
    const unchanged = ((previous ^ value) & (Stime1.GEN | Stime1.GENSF)) === 0;
    if (field === 0) this.#general.cancel();
    else if (!unchanged || this.#general.deadline === undefined) {
      this.#general.arm(this.#clock.now() + timerPeriod(field, (value & Stime1.GENSF) !== 0));
    }
  }

  /** Nanoseconds until the general purpose timer expires, or -1. */
  get generalRemaining(): number {
    const deadline = this.#general.deadline;
    return deadline === undefined ? -1 : Math.max(0, deadline - this.#clock.now());
  }

  set generalRemaining(remaining: number) {
    if (remaining >= 0) this.#general.arm(this.#clock.now() + remaining);
    else this.#general.cancel();
  }

  /** The chip waits for the next handshake of the target that it is connected to, or no longer does. */
  awaitHandshake(waiting: boolean): void {
    const field = this.#file.bytes[Reg.STIME0] >> 4;
    if (waiting && field !== 0) {
      if (this.#handshake.deadline !== undefined) return;
      this.#handshake.arm(this.#clock.now() + timerPeriod(field, this.#file.has(Reg.STIME1, Stime1.HTHSF)));
    } else if (this.#handshake.deadline !== undefined) {
      this.#handshake.cancel();
    }
  }

  /** The chip selects a target that does not answer. */
  awaitSelection(): void {
    const field = (this.#file.bytes[Reg.STIME0] & 0x0f) || DEFAULT_SELECTION;
    this.#selection.arm(this.#clock.now() + timerPeriod(field, false));
  }

  /** The selection is over. */
  selectionOver(): void {
    this.#selection.cancel();
  }

  /** Stops all. */
  cancel(): void {
    this.#general.cancel();
    this.#handshake.cancel();
    this.#selection.cancel();
  }
}
