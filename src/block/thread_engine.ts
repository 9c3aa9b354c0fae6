/**
 * Requests by way of threads, each of which waits for one at a time. They start when there is something to do.
 *
 * @module
 */
import type { Timer } from "../device/pci_device.ts";
import type { EventLoop } from "../event_loop.ts";
import type { Watch } from "../watches.ts";
import { createEventFd, EDGE_TRIGGERED, Ready } from "../ffi/event.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";
import { closeFd, requireDescriptors } from "../ffi/file.ts";
import { lastingAddress } from "../ffi/memory.ts";
import { describeError } from "../error_chain.ts";
import { log } from "../log.ts";
import { mainModule, WORKER_DESCRIPTORS } from "../main_module.ts";
import type { IoEngine, IoRequest } from "./io_engine.ts";
import { type IoThreadMessage, JOB_SLOTS, JobQueue } from "./io_jobs.ts";
import { IO_THREAD } from "./io_thread.ts";

/** More threads than this gain nothing on one disk, and each takes 10 MB. */
const MOST_THREADS = 4;

/** How long the first thread may take to start, in nanoseconds. Here it takes 30 ms. */
const START_DEADLINE = 60e9;

/**
 * Starts a thread that takes part in serving a queue.
 *
 * @throws {SyscallError} when the host has no room for it.
 */
export type StartThread = (message: IoThreadMessage) => void;

/** For tests: how threads start. */
export interface ThreadEngineOptions {
  /** @default {a worker of this program} */
  readonly startThread?: StartThread;
  /** How long the first thread may take to start, in nanoseconds. */
  readonly startDeadline?: number;
  /** Takes the line that says why requests fail. @default {standard error} */
  readonly log?: (line: string) => void;
}

function startWorker(message: IoThreadMessage): void {
  requireDescriptors(WORKER_DESCRIPTORS);
  new Worker(mainModule(), { type: "module", name: IO_THREAD }).postMessage(message);
}

/** An engine of up to {@linkcode MOST_THREADS} threads. */
export class ThreadEngine implements IoEngine {
  readonly #queue = new JobQueue();
  readonly #startThread: StartThread;
  readonly #startDeadline: number;
  readonly #log: (line: string) => void;
  readonly #eventFd = createEventFd();
  readonly #watch: Watch;
  readonly #loop: EventLoop;
  readonly #deadline: Timer;
  /** The requests in flight, by slot; they keep their buffers from the garbage collector. */
  readonly #inFlight = new Array<IoRequest | undefined>(JOB_SLOTS).fill(undefined);
  readonly #freeSlots = this.#inFlight.map((_, slot) => slot);
  /** Those for which there is no slot. */
  readonly #waiting: IoRequest[] = [];
  #threads = 0;
  #closed = false;
  /** Whether no thread could be started. */
  #broken = false;
  readonly #ended = (slot: number, result: number) => this.#complete(slot, result);

  constructor(loop: EventLoop, options: ThreadEngineOptions = {}) {
    const { startThread = startWorker, startDeadline = START_DEADLINE } = options;
    this.#log = options.log ?? log;
    this.#loop = loop;
    this.#startThread = startThread;
    this.#startDeadline = startDeadline;
    this.#deadline = loop.timer(() => this.#checkStart());
    this.#watch = loop.watch(this.#eventFd, Ready.IN | EDGE_TRIGGERED, () => this.#takeResults());
  }

  submit(request: IoRequest): void {
    if (!this.#broken && this.#waiting.length === 0 && this.#start(request)) return;
    this.#waiting.push(request);
    if (this.#broken) this.#deadline.arm(this.#loop.now());
  }

  /** @param threads How many to start. @default {as many as there can be} */
  prepare(_operations?: unknown, threads: number = MOST_THREADS): void {
    while (this.#threads < threads && !this.#broken) {
      const before = this.#threads;
      this.#addThread();
      if (this.#threads === before) break;
    }
    if (!this.#queue.awaitStart(this.#threads, this.#startDeadline / 1e6)) this.#fail("they did not begin in time");
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#deadline.cancel();
    this.#watch.cancel();
    // The threads end by themselves: one that is terminated leaves descriptors of Deno's open.
    this.#queue.close();
    closeFd(this.#eventFd);
  }

  /** @returns false when it has to wait. */
  #start(request: IoRequest): boolean {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return false;
    const { operation, fd, offset, length, buffer, mode = 0 } = request;
    this.#inFlight[slot] = request;
    this.#queue.put(slot, { operation, fd, offset, length, address: buffer ? lastingAddress(buffer) : 0, mode });
    const starting = this.#threads - this.#queue.started;
    if (this.#queue.excess > starting && this.#threads < MOST_THREADS) this.#addThread();
    return true;
  }

  /** Those that are there do the work of one that cannot be started, if there are any. */
  #addThread(): void {
    try {
      this.#startThread({ memory: this.#queue.memory, signal: this.#eventFd });
      if (this.#threads++ === 0) this.#deadline.arm(this.#loop.now() + this.#startDeadline);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (this.#threads === 0) this.#fail(describeError(error));
    }
  }

  #takeResults(): void {
    this.#queue.takeResults(this.#ended);
    if (this.#closed) return;
    let started = 0;
    while (started < this.#waiting.length && this.#start(this.#waiting[started])) started++;
    this.#waiting.splice(0, started);
  }

  #complete(slot: number, result: number): void {
    const request = this.#inFlight[slot]!;
    this.#inFlight[slot] = undefined;
    this.#freeSlots.push(slot);
    request.done(result);
  }

  /**
   * A thread that cannot start says so only to JavaScript's event loop, which does not run in a device process. Requests fail then.
   */
  #checkStart(): void {
    if (this.#broken) this.#failRequests();
    else if (this.#queue.started === 0) this.#fail("it did not begin in time");
  }

  /** No request is carried out any more, those that have been made included: the queue is closed. They fail in the next turn of the loop. */
  #fail(why: string): void {
    this.#log(`Cannot start a thread for disks, which fail from now on: ${why}`);
    this.#broken = true;
    this.#queue.close();
    this.#deadline.arm(this.#loop.now());
  }

  #failRequests(): void {
    const lost = [...this.#inFlight.filter((request) => request !== undefined), ...this.#waiting];
    this.#inFlight.fill(undefined);
    this.#waiting.length = 0;
    for (const { done } of lost) done(-Errno.EIO);
  }
}
