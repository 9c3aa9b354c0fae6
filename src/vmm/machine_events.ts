/**
 * What the leading thread tells the control thread about the machine: resets, changes of the run state, the end.
 *
 * @module
 */
import { drainEventFd, signalEventFd } from "../ffi/event.ts";
import { type Cause, CAUSES } from "./run_state.ts";

/** Words of the shared memory. */
const Word = {
  /** Resets that the guest asked for, and that somebody else did. */
  GUEST_RESETS: 0,
  HOST_RESETS: 1,
  /** Why the machine ends, a number of `CAUSES`; 0 while it does not. */
  END: 2,
  /** Not zero once the control thread has told everybody of the end. */
  FAREWELL: 3,
  /** How often the machine has begun to run or to stand still, by turns. */
  TURNS: 4,
} as const;

/** Bytes of shared memory for {@linkcode MachineEvents}. */
export const MACHINE_EVENTS_SIZE = 20;

/** How long the end waits for the control thread, in milliseconds. */
const FAREWELL_TIMEOUT = 2_000;

/** What has happened since the last look. */
export interface MachineNews {
  readonly guestResets: number;
  readonly hostResets: number;
  /** How often the machine has begun to run or to stand still: every other one is the same. */
  readonly turns: number;
  /** Why the machine ends, when it does. */
  readonly end: Cause | undefined;
}

/** The events as one thread sees them. */
export class MachineEvents {
  readonly #words: Int32Array;
  readonly #eventFd: number;

  /**
   * @param memory {@linkcode MACHINE_EVENTS_SIZE} bytes, zero at first.
   * @param eventFd Ready whenever there is something to look at, {@linkcode take news} or the run state.
   */
  constructor(memory: SharedArrayBuffer, eventFd: number) {
    this.#words = new Int32Array(memory);
    this.#eventFd = eventFd;
  }

  /** The leader has done what the run control asked for. */
  notify(): void {
    signalEventFd(this.#eventFd);
  }

  /** The machine is about to enter a state in which it runs, after one in which it stood still, or the other way round. */
  noteTurn(): void {
    Atomics.add(this.#words, Word.TURNS, 1);
  }

  /** The machine was reset. */
  noteReset(cause: Cause): void {
    Atomics.add(this.#words, cause === "guest-reset" ? Word.GUEST_RESETS : Word.HOST_RESETS, 1);
    this.notify();
  }

  /** The machine ends. Returns when everybody has been told, or the control thread takes too long for it. */
  noteEnd(cause: Cause): void {
    Atomics.store(this.#words, Word.END, CAUSES.indexOf(cause));
    this.notify();
    Atomics.wait(this.#words, Word.FAREWELL, 0, FAREWELL_TIMEOUT);
  }

  /**
   * For the control thread, before it looks at anything: whatever happens from now on makes the eventfd ready again. After a look at the run
   * state it would be too late, since a change in between would go unseen.
   */
  listen(): void {
    drainEventFd(this.#eventFd);
  }

  /** For the control thread: what has happened since the last call. */
  take(): MachineNews {
    const end = CAUSES[Atomics.load(this.#words, Word.END)];
    return {
      guestResets: Atomics.exchange(this.#words, Word.GUEST_RESETS, 0),
      hostResets: Atomics.exchange(this.#words, Word.HOST_RESETS, 0),
      turns: Atomics.exchange(this.#words, Word.TURNS, 0),
      end: end === "none" ? undefined : end,
    };
  }

  /** For the control thread: everybody knows of the end. */
  sayFarewell(): void {
    Atomics.store(this.#words, Word.FAREWELL, 1);
    Atomics.notify(this.#words, Word.FAREWELL);
  }
}
