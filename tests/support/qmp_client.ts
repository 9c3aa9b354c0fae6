/**
 * A QMP client of a real process, over its UNIX socket.
 *
 * @module
 */
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { connectTo } from "../../src/ffi/unix_socket.ts";

/** After this long without what a test waits for, something hangs. In milliseconds. */
const PATIENCE = 60_000;

/** A message of the server's. */
// deno-lint-ignore no-explicit-any -- tests look into answers without describing them first
export type QmpMessage = Record<string, any>;

/** Waits a little, on a thread whose event loop does not run. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** A client that has negotiated. */
export class QmpClient {
  readonly #fd: number;
  readonly #socket: MessageSocket;
  readonly #piece = new Uint8Array(65536);
  readonly #events: QmpMessage[] = [];
  #text = "";
  #ended = false;

  /** Connects as soon as somebody listens at the path. */
  constructor(path: string) {
    this.#fd = connectPatiently(path);
    this.#socket = new MessageSocket(this.#fd);
    if (!("QMP" in this.#next())) throw new Error("The server does not greet");
    this.call("qmp_capabilities");
  }

  /** Gives a command, and returns its result. @throws {Error} with the server's answer when it fails. */
  call(execute: string): QmpMessage {
    const bytes = new TextEncoder().encode(JSON.stringify({ execute }));
    this.#socket.send(bytes, 0, bytes.length, [], true);
    for (;;) {
      const message = this.#next();
      if ("return" in message) return message.return;
      if ("error" in message) throw new Error(`${execute}: ${message.error.desc}`);
      this.#events.push(message);
    }
  }

  /** The status that `query-status` names. */
  get status(): string {
    return this.call("query-status").status;
  }

  /** Waits for an event; those before it are dropped. @returns its data. */
  waitFor(name: string): QmpMessage | undefined {
    for (;;) {
      const event = this.#events.shift() ?? this.#next();
      if (event.event === name) return event.data;
    }
  }

  /** The names of all events up to the end of the connection. */
  untilEnd(): string[] {
    const names = this.#events.splice(0).map(({ event }) => event);
    for (let message; (message = this.#line()) !== undefined;) names.push(message.event);
    return names;
  }

  close(): void {
    closeFd(this.#fd);
  }

  #next(): QmpMessage {
    const message = this.#line();
    if (message === undefined) throw new Error("The server has ended the connection");
    return message;
  }

  #line(): QmpMessage | undefined {
    for (;;) {
      const end = this.#text.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return JSON.parse(line);
      }
      if (this.#ended) return undefined;
      this.#receive();
    }
  }

  #receive(): void {
    if (pollFd(this.#fd, Ready.IN, PATIENCE) === 0) throw new Error(`Waited ${PATIENCE / 1000} s in vain for QMP`);
    const length = this.#socket.receive(this.#piece, 0, this.#piece.length, false);
    if (length === 0) this.#ended = true;
    else if (length > 0) this.#text += new TextDecoder().decode(this.#piece.subarray(0, length));
  }
}

function connectPatiently(path: string): number {
  for (let waited = 0;; waited += 10) {
    try {
      return connectTo(path);
    } catch (error) {
      if (waited >= PATIENCE) throw error;
      pause(10);
    }
  }
}
