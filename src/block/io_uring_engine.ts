/**
 * Requests by way of io_uring: gathered in a turn of the loop, given to the kernel in one system call before it waits.
 *
 * @module
 */
import type { EventLoop, Hook } from "../event_loop.ts";
import type { Watch } from "../watches.ts";
import type { Timer } from "../device/pci_device.ts";
import { carryOut, FileOperation } from "../ffi/blocking_io.ts";
import { createEventFd, EDGE_TRIGGERED, Ready } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import { type IoUring, RingOperation } from "../ffi/io_uring.ts";
import { lastingAddress } from "../ffi/memory.ts";
import type { IoEngine, IoRequest, OpenRing } from "./io_engine.ts";
import { ThreadEngine } from "./thread_engine.ts";

/** Requests between two submissions, and in flight. More wait here. */
const SUBMISSIONS = 128;
const COMPLETIONS = 512;

/** What io_uring cannot do, and takes a block device its time. */
const LENGTHY: readonly FileOperation[] = [FileOperation.DISCARD, FileOperation.ZERO_OUT];

/** How often in a turn completions that are there already may lead to further requests. */
const ROUNDS = 4;

/** How long to leave a kernel alone that lacks memory for requests, in nanoseconds. */
const RETRY_AFTER = 1e6;

/** An engine on a pair of rings. What io_uring cannot do is done by threads, which are started when it is first needed. */
export class RingEngine implements IoEngine {
  readonly #loop: EventLoop;
  readonly #ring: IoUring;
  readonly #eventFd: number;
  readonly #watch: Watch;
  readonly #hook: Hook;
  readonly #retry: Timer;
  /** The requests in flight, by tag; they keep their buffers from the garbage collector. */
  readonly #inFlight: (IoRequest | undefined)[];
  readonly #freeTags: number[];
  /** Those for which there is no tag. */
  readonly #waiting: IoRequest[] = [];
  #threads: ThreadEngine | undefined;
  /** Whether nothing can be started from now on. */
  #prepared = false;
  /** Requests that have been carried out, and what came of them. */
  #carriedOut: [IoRequest, number][] = [];
  #closed = false;
  readonly #completed = (tag: number, result: number) => this.#complete(tag, result);

  /** @throws {SyscallError} where io_uring cannot be had. */
  constructor(loop: EventLoop, openRing: OpenRing) {
    this.#loop = loop;
    this.#ring = openRing(SUBMISSIONS, COMPLETIONS);
    this.#inFlight = new Array<IoRequest | undefined>(this.#ring.capacity).fill(undefined);
    this.#freeTags = this.#inFlight.map((_, tag) => tag);
    this.#eventFd = createEventFd();
    this.#ring.signal(this.#eventFd);
    this.#watch = loop.watch(this.#eventFd, Ready.IN | EDGE_TRIGGERED, () => void this.#work());
    this.#hook = loop.beforeWaiting(() => this.#work());
    this.#retry = loop.timer(() => {});
  }

  submit(request: IoRequest): void {
    if (!this.#canDo(request)) {
      this.#submitElsewhere(request);
    } else if (this.#waiting.length > 0 || !this.#start(request)) {
      this.#waiting.push(request);
    }
  }

  prepare(operations: ReadonlySet<FileOperation>): void {
    this.#prepared = true;
    if (!LENGTHY.some((operation) => operations.has(operation))) return;
    this.#threads ??= new ThreadEngine(this.#loop);
    this.#threads.prepare(undefined, 1);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#threads?.close();
    this.#retry.cancel();
    this.#hook.cancel();
    this.#watch.cancel();
    this.#ring.close();
    closeFd(this.#eventFd);
  }

  /** By a thread, or where none can be started any more and none was worth it, at once: what remains then is quick. */
  #submitElsewhere(request: IoRequest): void {
    if (this.#threads === undefined && this.#prepared) {
      const { operation, fd, offset, length } = request;
      this.#carriedOut.push([request, carryOut({ operation, fd, offset, length, address: 0, mode: 0 })]);
    } else {
      this.#threads ??= new ThreadEngine(this.#loop);
      this.#threads.submit(request);
    }
  }

  #finishCarriedOut(): number {
    if (this.#carriedOut.length === 0) return 0;
    const ended = this.#carriedOut;
    this.#carriedOut = [];
    for (const [request, result] of ended) request.done(result);
    return ended.length;
  }

  #canDo({ operation }: IoRequest): boolean {
    return operation <= FileOperation.ALLOCATE ||
      operation === FileOperation.TRUNCATE && this.#ring.supports(RingOperation.FTRUNCATE);
  }

  /** @returns false when it has to wait. */
  #start(request: IoRequest): boolean {
    if (this.#freeTags.length === 0) return false;
    const tag = this.#freeTags.at(-1)!;
    if (!this.#prepare(tag, request)) {
      this.#ring.submit();
      if (!this.#prepare(tag, request)) return false;
    }
    this.#freeTags.pop();
    this.#inFlight[tag] = request;
    return true;
  }

  #prepare(tag: number, { operation, fd, offset, length, buffer, mode }: IoRequest): boolean {
    switch (operation) {
      case FileOperation.READ:
        return this.#ring.read(tag, fd, offset, lastingAddress(buffer!), length);
      case FileOperation.WRITE:
        return this.#ring.write(tag, fd, offset, lastingAddress(buffer!), length);
      case FileOperation.SYNC_DATA:
        return this.#ring.syncData(tag, fd);
      case FileOperation.ALLOCATE:
        return this.#ring.allocate(tag, fd, mode!, offset, length);
      default:
        return this.#ring.truncate(tag, fd, offset);
    }
  }

  /** Submits, and takes what has completed. @returns whether the loop should not wait. */
  #work(): boolean {
    let completed = this.#finishCarriedOut();
    let refused = false;
    for (let round = 0; round < ROUNDS; round++) {
      refused = this.#ring.submit() === "later";
      const count = this.#ring.reap(this.#completed);
      if (this.#closed) return true;
      completed += count;
      this.#startWaiting();
      if (count === 0 && this.#ring.pending === 0) break;
    }
    if (refused) this.#retryLater();
    return completed > 0 || this.#ring.pending > 0 && !refused;
  }

  /** The end of other requests wakes the loop as well, but there may be none. */
  #retryLater(): void {
    this.#retry.arm(this.#loop.now() + RETRY_AFTER);
  }

  #startWaiting(): void {
    if (this.#waiting.length === 0) return;
    let started = 0;
    while (started < this.#waiting.length && this.#start(this.#waiting[started])) started++;
    this.#waiting.splice(0, started);
  }

  #complete(tag: number, result: number): void {
    const request = this.#inFlight[tag]!;
    this.#inFlight[tag] = undefined;
    this.#freeTags.push(tag);
    request.done(result);
  }
}
