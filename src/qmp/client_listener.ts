/**
 * A socket that listens, for whoever serves one client after the other: QMP servers and character devices.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { monotonicNow } from "../ffi/clock.ts";
import { SyscallError } from "../ffi/errno.ts";
import { armTimerFd, createTimerFd, EDGE_TRIGGERED, Ready } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import { acceptClient } from "../ffi/unix_socket.ts";
import type { Watch } from "../watches.ts";
import type { Watcher } from "./connection.ts";

/** Nanoseconds until a client that could not be taken is tried again. */
const RETRY_PERIOD = 1e9;

/** What a {@linkcode ClientListener} is made of. */
export interface ClientListenerOptions {
  /** A socket that listens; non-blocking. It stays open. */
  readonly socket: number;
  readonly watcher: Watcher;
  /** Takes a client, which is the callee's to close. No other comes until {@linkcode ClientListener.listen}. */
  readonly onClient: (fd: number) => void;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
  /** Nanoseconds until a client that could not be taken is tried again. @default {1e9} */
  readonly retryPeriod?: number;
}

/**
 * Takes clients, one each time it is told to. One that cannot be taken, for want of descriptors or memory, waits in the socket's queue
 * and is tried again: it would be ready for ever, so it is not watched for meanwhile.
 */
export class ClientListener {
  readonly #options: ClientListenerOptions;
  /** Made now, because there may be no descriptor when it is needed. */
  readonly #timer = createTimerFd();
  readonly #retry: Watch;
  #watch: Watch | undefined;
  #wanted = false;
  #failing = false;

  constructor(options: ClientListenerOptions) {
    this.#options = options;
    this.#retry = options.watcher.watch(this.#timer, Ready.IN | EDGE_TRIGGERED, () => this.#start());
  }

  /** Waits for the next client. */
  listen(): void {
    this.#wanted = true;
    this.#start();
  }

  /** Waits for no client any more. */
  close(): void {
    this.#wanted = false;
    this.#stop();
    this.#retry.cancel();
    closeFd(this.#timer);
  }

  #start(): void {
    const { socket, watcher } = this.#options;
    if (this.#wanted) this.#watch ??= watcher.watch(socket, Ready.IN, () => this.#accept());
  }

  #stop(): void {
    this.#watch = void this.#watch?.cancel();
  }

  #accept(): void {
    const { socket, onClient } = this.#options;
    if (!this.#wanted) return;
    let client: number | undefined;
    try {
      client = acceptClient(socket);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return this.#fail(error);
    }
    if (client === undefined) return;
    this.#wanted = this.#failing = false;
    this.#stop();
    onClient(client);
  }

  #fail(error: SyscallError): void {
    const { log, retryPeriod = RETRY_PERIOD } = this.#options;
    this.#stop();
    armTimerFd(this.#timer, monotonicNow() + retryPeriod);
    if (!this.#failing) log(`cannot take a client, and tries again: ${errorChain(error)}`);
    this.#failing = true;
  }
}
