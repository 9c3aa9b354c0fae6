/**
 * The loop of a device process: polled sources, descriptors and timers take turns.
 *
 * A turn hands on what was gathered before it (requests to the host's kernel go in batches), looks at every descriptor
 * that is ready, once, and then fires the timers that were due when the turn began to fire them, once. So neither starves
 * the other: a link that never stops sending leaves a turn to the timers, and a device that sets its timer to `now()` again
 * and again (a long SCRIPTS program, slice by slice) leaves one to the links.
 *
 * @module
 */
import type { Clock, Timer } from "./device/pci_device.ts";
import { monotonicNow } from "./ffi/clock.ts";
import { armTimerFd, createTimerFd, EDGE_TRIGGERED, Ready } from "./ffi/event.ts";
import { closeFd } from "./ffi/file.ts";
import { type PolledSource, PolledSources } from "./polled_sources.ts";
import { type Watch, Watches } from "./watches.ts";

/** Work that is done in every turn. */
export interface Hook {
  /** Stops it. Calling it again does nothing. */
  cancel(): void;
}

/** In one of so many turns descriptors are looked at although a polled source has something. */
const TURNS_WITHOUT_LOOK = 8;

/** Watches descriptors and runs timers on CLOCK_MONOTONIC, on one thread. */
export class EventLoop implements Clock {
  readonly #watches = new Watches();
  readonly #timerFd = createTimerFd();
  readonly #armed = new Set<LoopTimer>();
  readonly #hooks = new Set<{ readonly work: () => boolean }>();
  readonly #polled = new PolledSources(() => this.#watches.wait(0) > 0);
  /** Turns since descriptors were looked at. */
  #turns = 0;
  /** What the timerfd is set to, if it has not fired yet. */
  #alarm = Infinity;
  #closed = false;

  constructor() {
    this.watch(this.#timerFd, Ready.IN | EDGE_TRIGGERED, () => {
      this.#alarm = Infinity;
    });
  }

  now(): number {
    return monotonicNow();
  }

  timer(callback: () => void): Timer {
    return new LoopTimer(this.#armed, callback);
  }

  /** Calls `ready` in each turn in which the descriptor is. See {@linkcode Watches.watch}. */
  watch(fd: number, events: number, ready: (events: number) => void): Watch {
    return this.#watches.watch(fd, events, ready);
  }

  /**
   * Calls `work` in each turn before the loop looks at descriptors: to hand on at once what has been gathered since the last. It is to do a
   * bounded amount of work without waiting.
   *
   * @param work Returns whether somebody may have to act upon what it did; the turn then does not wait.
   */
  beforeWaiting(work: () => boolean): Hook {
    const hook = { work };
    this.#hooks.add(hook);
    return { cancel: () => void this.#hooks.delete(hook) };
  }

  /** Serves a source in each turn, and before the loop sleeps has it announce that. */
  poll(source: PolledSource): Hook {
    this.#polled.add(source);
    return { cancel: () => this.#polled.delete(source) };
  }

  /** Serves polled sources, now: for a handler to whom it matters that what was asked for before its event is done. */
  catchUp(): void {
    this.#polled.serve();
  }

  /**
   * Does the work that {@linkcode beforeWaiting} puts off, now: before something that takes time, such as waking another process.
   *
   * @returns whether somebody may have to act upon it.
   */
  handOn(): boolean {
    let busy = false;
    for (const { work } of this.#hooks) busy = work() || busy;
    return busy;
  }

  /**
   * Takes one turn. Not to be called from within one.
   *
   * @param wait Whether to wait until there is something to do. @default {true}
   * @returns whether there was.
   */
  turn(wait = true): boolean {
    const busy = this.handOn();
    const found = this.#polled.size > 0 ? this.#poll(wait && !busy) : this.#wait(wait && !busy);
    return this.#armed.size > 0 && this.#fireTimers() || found || busy;
  }

  /** Closes the loop's own descriptors. Calling it again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watches.close();
    closeFd(this.#timerFd);
  }

  #wait(wait: boolean): boolean {
    const timeout = this.#prepareToWait();
    return this.#watches.wait(wait ? timeout : 0) > 0;
  }

  /** The same where there are polled sources. */
  #poll(wait: boolean): boolean {
    if (this.#polled.serve() || wait && this.#polled.spin(this.#earliest())) {
      if (++this.#turns >= TURNS_WITHOUT_LOOK) this.#look();
      return true;
    }
    return wait ? this.#sleep() : this.#look();
  }

  #look(): boolean {
    this.#turns = 0;
    return this.#watches.wait(0) > 0;
  }

  /** @returns whether there is something, which may be for a polled source to find in the next turn. */
  #sleep(): boolean {
    const timeout = this.#prepareToWait();
    if (timeout === 0) return this.#look();
    if (!this.#polled.announceSleep()) return true;
    const ready = this.#watches.wait(timeout);
    this.#polled.awake();
    return ready > 0;
  }

  #fireTimers(): boolean {
    const earliest = this.#earliest();
    // The timerfd would have fired; but it is not looked at in each turn when there are polled sources.
    if (earliest >= this.#alarm && this.#polled.size === 0) return false;
    const now = monotonicNow();
    if (earliest > now) return false;
    // A copy, so that timers which callbacks arm wait for the next turn.
    const due = [...this.#armed].filter((timer) => timer.deadline! <= now);
    due.sort((a, b) => a.deadline! - b.deadline!);
    for (const timer of due) timer.fire(now);
    return due.length > 0;
  }

  /**
   * Has the timerfd fire at the earliest deadline, if not before. An alarm for a timer that is not armed any more wakes the loop once, for
   * nothing: timers that are set and taken back all the time, as those for the patience with something are, cost a system call only now and then.
   *
   * @returns the timeout of the wait: none, or 0 when a timer is due already.
   */
  #prepareToWait(): 0 | -1 {
    if (this.#armed.size === 0) return -1;
    const earliest = this.#earliest();
    if (earliest >= this.#alarm) return -1;
    if (earliest <= monotonicNow()) return 0;
    armTimerFd(this.#timerFd, earliest);
    this.#alarm = earliest;
    return -1;
  }

  #earliest(): number {
    let earliest = Infinity;
    for (const timer of this.#armed) if (timer.deadline! < earliest) earliest = timer.deadline!;
    return earliest;
  }
}

/** A timer is in the loop's set of armed timers exactly while it has a deadline. */
class LoopTimer implements Timer {
  #deadline: number | undefined;

  constructor(readonly armed: Set<LoopTimer>, readonly callback: () => void) {}

  get deadline(): number | undefined {
    return this.#deadline;
  }

  arm(deadline: number): void {
    if (!Number.isFinite(deadline)) throw new RangeError(`A timer cannot be set to ${deadline}`);
    this.#deadline = deadline;
    this.armed.add(this);
  }

  cancel(): void {
    this.#deadline = undefined;
    this.armed.delete(this);
  }

  /** Runs the callback, unless another timer's callback has cancelled it or put it off. */
  fire(now: number): void {
    if (this.#deadline === undefined || this.#deadline > now) return;
    this.cancel();
    this.callback();
  }
}
