/**
 * The users of a character device that take its input.
 *
 * @module
 */
import { HmpSession } from "../../hmp/session.ts";
import type { Commands } from "../../qmp/commands.ts";
import { VERSION } from "../../version.ts";
import type { SerialPort } from "../platform/serial.ts";
import type { SharedLock } from "../shared_lock.ts";
import { type FrontEnd, InputQueue } from "./input.ts";

/** Bytes that may wait for a guest before no more are read. */
const QUEUE = 4096;

/**
 * The same where the escape key is a command: it must be read to be obeyed, also while the guest takes nothing. So much is not typed by
 * hand.
 */
const MUX_QUEUE = 65536;

/** A serial port. */
export class SerialFrontEnd implements FrontEnd {
  readonly #port: SerialPort;
  readonly #lock: SharedLock;
  readonly #queue: InputQueue;

  constructor(port: SerialPort, lock: SharedLock, shared: boolean) {
    this.#port = port;
    this.#lock = lock;
    this.#queue = new InputQueue(shared ? MUX_QUEUE : QUEUE, (bytes) => lock.with(() => port.receive(bytes)));
  }

  get room(): number {
    return this.#queue.room;
  }

  receive(bytes: Uint8Array): void {
    this.#queue.push(bytes);
  }

  /** The guest may have taken something. */
  retry(): void {
    this.#queue.retry();
  }

  /** Where there is no room, the guest takes nothing, and a break neither. */
  sendBreak(): void {
    this.#lock.with(() => this.#port.receiveBreak());
  }

  focus(): void {}

  renew(): void {}
}

/** What a {@linkcode MonitorFrontEnd} is made of. */
export interface MonitorOptions {
  readonly commands: Commands;
  readonly print: (text: string) => void;
  /** Others print to the same device. */
  readonly shared: boolean;
  /** The person wants to go. */
  readonly onLeave: () => void;
  /** There is room again, or none. */
  readonly onRoomChange: () => void;
}

/** A monitor for people. */
export class MonitorFrontEnd implements FrontEnd {
  readonly #options: MonitorOptions;
  #session: HmpSession | undefined;
  #busy = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** While a command is in progress, keys stay where they are. Only the escape key must be read to be obeyed; the session keeps the others. */
  get room(): number {
    return this.#busy && !this.#options.shared ? 0 : QUEUE;
  }

  receive(bytes: Uint8Array): void {
    this.#session?.receive(bytes);
  }

  focus(): void {
    const { print, shared } = this.#options;
    if (shared) print("\r\n");
    if (this.#session !== undefined) return this.#session.refresh();
    this.#session = this.#begin();
    this.#session.open();
  }

  sendBreak(): void {}

  renew(): void {
    this.#session?.close();
    this.#session = undefined;
    this.#busy = false;
  }

  #begin(): HmpSession {
    const { commands, print, onLeave, onRoomChange } = this.#options;
    const session: HmpSession = new HmpSession({
      commands,
      write: print,
      version: VERSION,
      onLeave,
      onBusy: (busy) => {
        // A command may outlive the client that gave it.
        if (this.#session !== session) return;
        this.#busy = busy;
        onRoomChange();
      },
    });
    return session;
  }
}
