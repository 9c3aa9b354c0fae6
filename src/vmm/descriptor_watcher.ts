/**
 * Descriptors on a thread that runs Deno's event loop: sockets, terminals, eventfds.
 *
 * Deno's loop cannot wait for a descriptor by number. An epoll instance can, on a thread of the pool that Deno keeps for calls that block; its
 * result arrives like that of any other asynchronous operation. That costs about 30 µs a wake-up and nothing while idle, signals and timers go
 * on, and a wait that is in progress does not keep the process from exiting.
 *
 * @module
 */
import type { Watch } from "../event_loop.ts";
import { Epoll } from "../ffi/event.ts";

/** Watches descriptors. */
export class DescriptorWatcher {
  readonly #epoll = new Epoll();
  readonly #handlers = new Map<number, (events: number) => void>();

  /**
   * Calls `ready` whenever one of `events` (`Ready` bits), an error or a hang-up is there. It is to do a bounded amount of work
   * without waiting, and to cope with a call for nothing: an event may outlive the descriptor that it was for.
   *
   * @throws {SyscallError} when the descriptor cannot be watched.
   */
  watch(fd: number, events: number, ready: (events: number) => void): Watch {
    this.#epoll.add(fd, events);
    this.#handlers.set(fd, ready);
    let watched = true;
    return {
      modify: (events) => this.#epoll.modify(fd, events),
      cancel: () => {
        if (!watched) return;
        watched = false;
        this.#handlers.delete(fd);
        this.#epoll.remove(fd);
      },
    };
  }

  /** Serves what is watched, now and later, for as long as the thread lives. */
  async run(): Promise<never> {
    const dispatch = (fd: number, events: number) => this.#handlers.get(fd)?.(events);
    for (;;) await this.#epoll.waitElsewhere(dispatch);
  }
}
