/**
 * The machine of a device process: remote objects on one loop, each of which lives until its proxy has gone away.
 *
 * @module
 */
import { EventLoop } from "../event_loop.ts";
import { RemoteObject, type RemoteObjectOptions } from "./remote_object.ts";
import { RunState } from "./run_state.ts";

/** A set of remote objects on one loop. */
export class RemoteMachine {
  /** What everything is served from. */
  readonly loop: EventLoop = new EventLoop();
  /** Whether requests are held, and what the drives are. */
  readonly runState: RunState = new RunState(this.loop);
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
  add(object: Pick<RemoteObjectOptions, "id" | "fd" | "device" | "accelerated">): void {
    this.#objects.add(new RemoteObject({ ...object, loop: this.loop, runState: this.runState, log: this.#log }));
  }

  /**
   * Takes one turn of the loop, and closes the objects whose link has ended.
   *
   * @param wait Whether to wait until there is something to do. @default {true}
   * @returns whether there was.
   */
  turn(wait = true): boolean {
    const busy = this.loop.turn(wait);
    // Not within the turn: closing may take turns itself, to flush a disk.
    for (const object of this.#objects) if (object.ended) this.#close(object);
    return busy;
  }

  /** Closes all objects and the loop. Calling it again does nothing. */
  close(): void {
    for (const object of this.#objects) this.#close(object);
    this.loop.close();
  }

  #close(object: RemoteObject): void {
    this.#objects.delete(object);
    object.close();
    this.#failed ||= object.failed;
  }
}
