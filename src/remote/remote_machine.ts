/**
 * `-machine remote`: the device process. It serves its remote objects until the last of their proxies has gone away.
 *
 * Signals have their default effect, which is to end the process at once: `epoll_wait` does not return to JavaScript's event
 * loop, so no listener would run. Nothing that a guest was told is complete is lost by that, since its data are with the host's
 * kernel by then.
 *
 * @module
 */
import type { RemoteConfig } from "./config.ts";
import type { DeviceConfig } from "./devices.ts";
import { EventLoop } from "./event_loop.ts";
import { RemoteObject } from "./remote_object.ts";

/** A set of remote objects on one loop. */
export class RemoteMachine {
  readonly #loop = new EventLoop();
  readonly #log: (line: string) => void;
  readonly #objects = new Set<RemoteObject>();
  #failed = false;

  /** @param log Writes one line to the log. */
  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  /** How many objects are served. */
  get size(): number {
    return this.#objects.size;
  }

  /** Whether an object's link ended by an error. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Hosts a device from now on. @throws {Error} one line: what is wrong with the socket or the device. */
  add(object: { readonly id: string; readonly fd: number; readonly device: DeviceConfig }): void {
    this.#objects.add(new RemoteObject({ ...object, loop: this.#loop, log: this.#log }));
  }

  /** Takes one turn of the loop, and closes the objects whose link has ended. @param wait See {@linkcode EventLoop.turn}. */
  turn(wait = true): void {
    this.#loop.turn(wait);
    // Not within the turn: closing may take turns itself, to flush a disk.
    for (const object of this.#objects) if (object.ended) this.#close(object);
  }

  /** Closes all objects and the loop. */
  close(): void {
    for (const object of this.#objects) this.#close(object);
    this.#loop.close();
  }

  #close(object: RemoteObject): void {
    this.#objects.delete(object);
    object.close();
    this.#failed ||= object.failed;
  }
}

/**
 * Runs a device process to its end.
 *
 * @returns the exit status: 0 when every proxy has gone away in good order, 1 when a link ended by an error.
 * @throws {Error} one line, when a device or its socket cannot be had; nothing is served then.
 */
export function runRemote(config: RemoteConfig): number {
  const machine = new RemoteMachine((line) => console.error(`splitvm: ${line}`));
  try {
    for (const object of config.objects) machine.add(object);
    while (machine.size > 0) machine.turn();
  } finally {
    machine.close();
  }
  return machine.failed ? 1 : 0;
}
