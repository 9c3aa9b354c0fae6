/**
 * Requests to threads, in memory that they share: a queue of jobs, from which whoever is idle takes the next, and a queue of results.
 *
 * Both queues are rings of slot numbers. A slot belongs to the device's thread until its number is in the first, to one I/O thread from when
 * that has taken the number until it is in the second, and to the device's thread again after that. What is written to a slot is
 * published by the atomic store of its number.
 *
 * @module
 */
import { carryOut, type FileJob, type FileOperation } from "../ffi/blocking_io.ts";
import { signalEventFd } from "../ffi/event.ts";

/** How many jobs there can be at once; a power of two. */
export const JOB_SLOTS = 256;

/** Words of 32 bits, each touched by atomic operations only. */
const Word = {
  /** The next place of the queue of jobs to take from, and to put into; they run on and wrap with 32 bits. */
  TAKE: 0,
  PUT: 1,
  /** The next place of the queue of results to put into. */
  DONE: 2,
  /** Changes with every job, and at the end; idle threads wait on it. */
  BELL: 3,
  /** How many threads wait. */
  IDLE: 4,
  /** How many threads may still use the eventfd. */
  ACTIVE: 5,
  CLOSING: 6,
  /** How many threads have begun. */
  STARTED: 7,
  /** Whether the device's thread has been told of results that it has not looked for yet. */
  SIGNALLED: 8,
  JOBS: 16,
  RESULTS: 16 + JOB_SLOTS,
  END: 16 + 2 * JOB_SLOTS,
} as const;

/** Fields of a slot: numbers that fit 53 bits. */
const Field = { OPERATION: 0, FD: 1, OFFSET: 2, LENGTH: 3, ADDRESS: 4, MODE: 5, RESULT: 6, END: 8 } as const;

const place = (position: number) => position & (JOB_SLOTS - 1);

/** What an I/O thread is given. */
export interface IoThreadMessage {
  readonly memory: SharedArrayBuffer;
  /** An eventfd for results. */
  readonly signal: number;
}

/** The queues, as both sides see them. */
class JobMemory {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly slots: Float64Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, Word.END);
    this.slots = new Float64Array(memory, 4 * Word.END);
  }
}

/** The device's side. */
export class JobQueue {
  readonly memory = new SharedArrayBuffer(4 * Word.END + 8 * Field.END * JOB_SLOTS);
  readonly #shared = new JobMemory(this.memory);
  /** The next place of the queue of results to take from. */
  #next = 0;

  /** How many threads have begun to take jobs. */
  get started(): number {
    return Atomics.load(this.#shared.words, Word.STARTED);
  }

  /** Waits until so many threads have begun. @param patience Milliseconds. @returns whether they have. */
  awaitStart(threads: number, patience: number): boolean {
    const { words } = this.#shared;
    for (;;) {
      const started = this.started;
      if (started >= threads) return true;
      if (Atomics.wait(words, Word.STARTED, started, patience) === "timed-out") return false;
    }
  }

  /** How many jobs no thread has taken, less the threads that wait for some. */
  get excess(): number {
    const { words } = this.#shared;
    const queued = (Atomics.load(words, Word.PUT) - Atomics.load(words, Word.TAKE)) | 0;
    return queued - Atomics.load(words, Word.IDLE);
  }

  /** Queues a job in a slot that is free. */
  put(slot: number, { operation, fd, offset, length, address, mode }: FileJob): void {
    const { words, slots } = this.#shared;
    slots.set([operation, fd, offset, length, address, mode], slot * Field.END);
    const position = Atomics.load(words, Word.PUT);
    Atomics.store(words, Word.JOBS + place(position), slot);
    Atomics.store(words, Word.PUT, (position + 1) | 0);
    Atomics.add(words, Word.BELL, 1);
    if (Atomics.load(words, Word.IDLE) > 0) Atomics.notify(words, Word.BELL, 1);
  }

  /** Calls `done` for each job that has ended, whose slot is free then. It may put further ones. @returns how many there were. */
  takeResults(done: (slot: number, result: number) => void): number {
    const { words, slots } = this.#shared;
    Atomics.store(words, Word.SIGNALLED, 0);
    for (let count = 0;; count++) {
      const slot = Atomics.exchange(words, Word.RESULTS + place(this.#next), 0) - 1;
      if (slot < 0) return count;
      this.#next++;
      done(slot, slots[slot * Field.END + Field.RESULT]);
    }
  }

  /** Ends the threads, and waits until none of them will use the eventfd any more. No job is under way. */
  close(): void {
    const { words } = this.#shared;
    Atomics.store(words, Word.CLOSING, 1);
    Atomics.add(words, Word.BELL, 1);
    Atomics.notify(words, Word.BELL);
    for (;;) {
      const active = Atomics.load(words, Word.ACTIVE);
      if (active === 0) return;
      Atomics.wait(words, Word.ACTIVE, active);
    }
  }
}

/** An I/O thread's side: carries out jobs until the queue is closed. */
export function serveJobs({ memory, signal }: IoThreadMessage): void {
  const { words, slots } = new JobMemory(memory);
  Atomics.add(words, Word.STARTED, 1);
  Atomics.notify(words, Word.STARTED);
  for (;;) {
    // Before the look at CLOSING: whoever closes either sees this thread as active or is seen by it.
    Atomics.add(words, Word.ACTIVE, 1);
    const closing = Atomics.load(words, Word.CLOSING) !== 0;
    const bell = Atomics.load(words, Word.BELL);
    const slot = closing ? -1 : takeJob(words);
    if (slot >= 0) {
      work(slots, slot);
      finish(words, signal, slot);
    }
    Atomics.sub(words, Word.ACTIVE, 1);
    Atomics.notify(words, Word.ACTIVE);
    if (closing) return;
    if (slot >= 0) continue;
    Atomics.add(words, Word.IDLE, 1);
    Atomics.wait(words, Word.BELL, bell);
    Atomics.sub(words, Word.IDLE, 1);
  }
}

function work(slots: Float64Array, slot: number): void {
  const at = slot * Field.END;
  slots[at + Field.RESULT] = carryOut({
    operation: slots[at + Field.OPERATION] as FileOperation,
    fd: slots[at + Field.FD],
    offset: slots[at + Field.OFFSET],
    length: slots[at + Field.LENGTH],
    address: slots[at + Field.ADDRESS],
    mode: slots[at + Field.MODE],
  });
}

/** @returns a slot, or -1 when there is no job. */
function takeJob(words: Int32Array): number {
  for (;;) {
    const position = Atomics.load(words, Word.TAKE);
    if (position === Atomics.load(words, Word.PUT)) return -1;
    // If another thread is faster, the place may hold a later job already; then the exchange fails.
    const slot = Atomics.load(words, Word.JOBS + place(position));
    if (Atomics.compareExchange(words, Word.TAKE, position, (position + 1) | 0) === position) return slot;
  }
}

/** Hands a result over, and wakes the device's thread unless somebody has just done that. */
function finish(words: Int32Array, signal: number, slot: number): void {
  const position = Atomics.add(words, Word.DONE, 1);
  Atomics.store(words, Word.RESULTS + place(position), slot + 1);
  if (Atomics.exchange(words, Word.SIGNALLED, 1) === 0) signalEventFd(signal);
}
