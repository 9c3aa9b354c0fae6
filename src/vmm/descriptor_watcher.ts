/**
 * Descriptors on a thread that runs Deno's event loop: sockets, terminals, eventfds.
 *
 * Deno's loop cannot wait for a descriptor by number. An epoll instance can, on a thread of the pool that Deno keeps for calls that block; its
 * result arrives like that of any other asynchronous operation. That costs about 30 µs a wake-up and nothing while idle, signals and timers go
 * on, and a wait that is in progress does not keep the process from exiting.
 *
 * @module
 */
import { type Watch, Watches } from "../watches.ts";

/** Watches descriptors. */
export class DescriptorWatcher {
  readonly #watches = new Watches();

  /** Calls `ready` whenever the descriptor is. See {@linkcode Watches.watch}. */
  watch(fd: number, events: number, ready: (events: number) => void): Watch {
    return this.#watches.watch(fd, events, ready);
  }

  /** Serves what is watched, now and later, for as long as the thread lives. */
  async run(): Promise<never> {
    for (;;) await this.#watches.waitElsewhere();
  }
}
