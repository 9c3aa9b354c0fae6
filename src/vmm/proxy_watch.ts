/**
 * Finds out about device processes that end or hang while no vCPU waits for them.
 *
 * A vCPU notices by itself when an answer does not come. One that only posts stores, or computes, or sleeps until the device interrupts it,
 * does not. So the control thread watches: the end of the link, which is that of a process that has died; posted stores, which have to be
 * carried out; and a heartbeat, which tells of one that hangs when nobody has anything to ask.
 *
 * @module
 */
import { monotonicNow } from "../ffi/clock.ts";
import { EDGE_TRIGGERED, Ready } from "../ffi/event.ts";
import { LinkError } from "../link/link_error.ts";
import { StallWatch } from "../link/ring/stall_watch.ts";
import type { PciProxy, ProxyHandle } from "../proxy/pci_proxy.ts";
import { attachRing } from "../proxy/ring_setup.ts";
import type { Watcher } from "../qmp/connection.ts";
import type { Watch } from "../watches.ts";
import type { SharedLock } from "./shared_lock.ts";

/** What a {@linkcode ProxyWatch} is made of. */
export interface ProxyWatchOptions {
  readonly proxy: PciProxy;
  readonly handle: ProxyHandle;
  /** Between two pings, in milliseconds; 0 for none. */
  readonly interval: number;
  /** The machine's: whoever uses a link has it. */
  readonly lock: SharedLock;
  readonly watcher: Watcher;
  /** Whether links may be closed, asked with the lock held. */
  readonly hasEnded: () => boolean;
  /** The device is gone, whoever has found out. Called once. @default {nothing} */
  readonly onLost?: () => void;
}

/** Looks are at most so far apart, and four of them fit into a deadline; in milliseconds. */
const LONGEST_PERIOD = 1000;
const LOOKS_IN_A_DEADLINE = 4;

/** When to try again when some vCPU has the lock, in milliseconds: this thread has other things to do than to wait for it. */
const RETRY = 2;

/** Only news count: level-triggered, half an answer would be reported again and again. */
const NEWS = Ready.RDHUP | EDGE_TRIGGERED;

/** The watch over one device process, on the thread that has the event loop. */
export class ProxyWatch {
  readonly #options: ProxyWatchOptions;
  readonly #period: number;
  readonly #pings: Pings | undefined;
  #stalls: StallWatch | undefined;
  #watch: Watch | undefined;
  #ended = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ProxyWatchOptions) {
    this.#options = options;
    const { proxy, handle, interval } = options;
    const beats = proxy.heartbeat !== undefined && interval > 0;
    this.#period = Math.min(LONGEST_PERIOD, handle.timeout / LOOKS_IN_A_DEADLINE, beats ? interval : Infinity);
    this.#pings = beats ? new Pings(options, this.#period) : undefined;
  }

  /** Watches from now on, until the device is gone. */
  begin(): void {
    const { proxy: { ring }, handle: { fd, timeout }, watcher } = this.#options;
    this.#watch = watcher.watch(fd, NEWS, (events) => this.#news(events));
    this.#stalls = ring && new StallWatch(attachRing(ring), ring.geometry, timeout * 1e6);
    if (ring === undefined && this.#pings === undefined) return;
    this.#timer = setInterval(() => this.#look(), this.#period);
  }

  /** Watches no more. The descriptor stays with the watcher, which has no further news of it: it may be closed by now. */
  #end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
  }

  /** The device is gone. */
  #mourn(): void {
    if (this.#ended) return;
    this.#end();
    this.#options.onLost?.();
  }

  #news(events: number): void {
    if (this.#ended) return;
    if ((events & ~Ready.IN) !== 0) this.#lose(new LinkError("the peer closed the link", "closed"));
    else this.#beat();
  }

  #look(): void {
    const error = this.#stalls?.check(monotonicNow());
    if (error !== undefined) this.#lose(error);
    else if (this.#options.proxy.failed) this.#mourn(); // a vCPU has found out
    else this.#beat();
  }

  /** Sends and takes what is due, now or as soon as no vCPU uses a link. */
  #beat(): void {
    const { lock, hasEnded, proxy } = this.#options;
    if (this.#pings === undefined || this.#retry !== undefined || this.#ended) return;
    if (!lock.tryAcquire()) {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#beat();
      }, RETRY);
      return;
    }
    let error: LinkError | undefined;
    try {
      if (hasEnded()) return this.#end();
      error = this.#pings.beat(monotonicNow());
    } finally {
      lock.release();
    }
    if (error !== undefined) this.#lose(error);
    else if (proxy.failed) this.#mourn();
    else this.#watch?.modify(this.#pings.awaited ? NEWS | Ready.IN : NEWS);
  }

  #lose(error: LinkError): void {
    this.#options.proxy.lose(error);
    this.#mourn();
  }
}

/** When to ping, and for how long an answer has been missing. */
class Pings {
  readonly #proxy: PciProxy;
  readonly #interval: number;
  readonly #deadline: number;
  readonly #longestStep: number;
  /** Whether a ping should be answered: it was sent, or could not be since the peer reads nothing. */
  #awaited = false;
  /** Answers before that one. */
  #answered = 0;
  #waited = 0;
  #began = -Infinity;
  #last = -Infinity;

  constructor({ proxy, interval, handle }: ProxyWatchOptions, period: number) {
    this.#proxy = proxy;
    this.#interval = interval * 1e6;
    this.#deadline = handle.timeout * 1e6;
    // Time in which this process was not there either, since all was frozen, is not the peer's.
    this.#longestStep = 2 * period * 1e6;
  }

  /** Whether an answer has to come. */
  get awaited(): boolean {
    return this.#awaited;
  }

  /** To be called with the link's lock held, now and then. @returns what is wrong, when an answer is overdue. */
  beat(now: number): LinkError | undefined {
    const heartbeat = this.#proxy.heartbeat!;
    this.#proxy.collectPong();
    if (this.#awaited && heartbeat.answered !== this.#answered) this.#awaited = false;
    if (this.#awaited) this.#waited += Math.min(now - this.#last, this.#longestStep);
    else if (!this.#begin(now)) return undefined;
    this.#last = now;
    this.#proxy.ping();
    if (this.#waited < this.#deadline) return undefined;
    return new LinkError(`a ping has had no answer for ${Math.round(this.#deadline / 1e6)} ms`, "timeout");
  }

  /** @returns whether it is time for a ping. */
  #begin(now: number): boolean {
    // Timers are late rather than early; half a period does not make a beat too soon.
    if (now - this.#began < this.#interval - this.#longestStep / 4) return false;
    this.#began = now;
    this.#awaited = true;
    this.#answered = this.#proxy.heartbeat!.answered;
    this.#waited = 0;
    return true;
  }
}
