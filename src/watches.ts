/**
 * Descriptors and what is to be done when they are ready: what the loop of a device process and the control thread of a VMM wait with.
 *
 * It stands outside the folders because both processes have one, whatever they import otherwise.
 *
 * @module
 */
import { Epoll } from "./ffi/event.ts";

/** A descriptor that is watched. */
export interface Watch {
  /** Changes what it is watched for (`Ready` bits). */
  modify(events: number): void;
  /** Stops watching; the descriptor stays open. To be called before it is closed. Calling it again does nothing. */
  cancel(): void;
}

/** An epoll instance with a handler for each descriptor. */
export class Watches {
  readonly #epoll = new Epoll();
  readonly #handlers = new Map<number, (events: number) => void>();
  // Made once: a closure for every wait would be garbage for every message.
  readonly #dispatch = (fd: number, events: number) => this.#handlers.get(fd)?.(events);

  /**
   * Calls `ready` in each wait in which one of `events` (`Ready` bits), an error or a hang-up is there. It is to do a bounded amount of
   * work without waiting, and to cope with a call for nothing: an event may outlive the descriptor that it was for.
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

  /** Waits, and calls the handlers of all that are ready. See `Epoll.wait`. @returns how many they were. */
  wait(timeout: number): number {
    return this.#epoll.wait(timeout, this.#dispatch);
  }

  /** The same without holding up this thread's event loop. See `Epoll.waitElsewhere`. */
  waitElsewhere(): Promise<number> {
    return this.#epoll.waitElsewhere(this.#dispatch);
  }

  /** Closes the epoll instance; what was watched stays open. */
  close(): void {
    this.#epoll.close();
  }
}
