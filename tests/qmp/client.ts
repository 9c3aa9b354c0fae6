/**
 * A QMP client for tests: sends anything, and takes what comes back while the server's loop turns.
 *
 * @module
 */
import { closeFd } from "../../src/ffi/file.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";

/** A message of the server's. */
// deno-lint-ignore no-explicit-any -- tests look into answers without describing them first
export type Message = Record<string, any>;

/** One end of a socket, the server's at the other. */
export class TestClient {
  readonly #socket: MessageSocket;
  readonly #turn: () => void;
  readonly #piece = new Uint8Array(65536);
  #text = "";
  #closed = false;
  /** Whether the server has ended the connection. */
  ended = false;

  /** @param turn Lets the server work, for as long as it has something to do or until something comes. */
  constructor(readonly fd: number, turn: () => void) {
    this.#socket = new MessageSocket(fd);
    this.#turn = turn;
  }

  /** Sends text or bytes, or an object as JSON. */
  send(what: string | Uint8Array<ArrayBuffer> | Message): void {
    const text = typeof what === "string" ? what : JSON.stringify(what);
    const bytes = what instanceof Uint8Array ? what : new TextEncoder().encode(text);
    this.#socket.send(bytes, 0, bytes.length, [], true);
  }

  /** All messages that have come. */
  take(): Message[] {
    this.#turn();
    this.#collect();
    const lines = this.#text.split("\r\n");
    this.#text = lines.pop()!;
    return lines.map((line) => JSON.parse(line));
  }

  /** Sends a command, and returns the only message that it brings. */
  call(execute: string, args?: Message): Message {
    this.send({ execute, ...args === undefined ? {} : { arguments: args } });
    const messages = this.take();
    if (messages.length !== 1) throw new Error(`${execute} brought ${JSON.stringify(messages)}`);
    return messages[0];
  }

  /** Goes away. Calling it again does nothing. */
  close(): void {
    if (!this.#closed) closeFd(this.fd);
    this.#closed = true;
  }

  #collect(): void {
    try {
      for (;;) {
        const length = this.#socket.receive(this.#piece, 0, this.#piece.length, false);
        if (length < 0) return;
        if (length === 0) break;
        this.#text += new TextDecoder().decode(this.#piece.subarray(0, length));
      }
    } catch {
      // ECONNRESET: ended with bytes of ours unread
    }
    this.ended = true;
  }
}
