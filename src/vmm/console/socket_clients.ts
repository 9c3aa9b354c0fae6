/**
 * A character device on a UNIX socket: one client after the other.
 *
 * @module
 */
import { closeFd, redirectFd } from "../../ffi/file.ts";
import { ClientListener } from "../../qmp/client_listener.ts";
import type { Watcher } from "../../qmp/connection.ts";
import type { InputReceiver } from "./input.ts";
import { InputPump } from "./input_pump.ts";

/** What {@linkcode SocketClients} are made of. */
export interface SocketClientsOptions {
  /** A socket that listens, if there will be further clients. */
  readonly listener: number | undefined;
  /** The client that is there from the beginning. */
  readonly client: number | undefined;
  /** What output is written to, by every thread; leads to the client from the beginning, or to /dev/null. */
  readonly output: number;
  /** /dev/null. */
  readonly nowhere: number;
  readonly watcher: Watcher;
  readonly receiver: InputReceiver;
  /** A client has come. */
  readonly onClient: () => void;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** Serves clients. Further ones wait in the socket's queue until the one that is there has gone. */
export class SocketClients {
  readonly #options: SocketClientsOptions;
  #client: { readonly fd: number; readonly pump: InputPump } | undefined;
  readonly #listener: ClientListener | undefined;

  constructor(options: SocketClientsOptions) {
    const { listener: socket, client, watcher, log } = this.#options = options;
    const onClient = (fd: number) => this.#take(fd);
    this.#listener = socket === undefined ? undefined : new ClientListener({ socket, watcher, onClient, log });
    if (client !== undefined) this.#serve(client);
    else this.#listener?.listen();
  }

  /** Whether a client is there. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Who takes input may have room again, or none. */
  update(): void {
    this.#client?.pump.update();
  }

  /** Sends the client away. */
  disconnect(): void {
    if (this.#client === undefined) return;
    const { fd, pump } = this.#client;
    this.#client = undefined;
    // The descriptor for output is another one for the same socket, so that epoll would go on to watch it.
    pump.close();
    redirectFd(this.#options.nowhere, this.#options.output);
    closeFd(fd);
    this.#listener?.listen();
  }

  #take(fd: number): void {
    redirectFd(fd, this.#options.output);
    this.#serve(fd);
  }

  #serve(fd: number): void {
    const { watcher, receiver, onClient, log } = this.#options;
    const onEnd = (why: string | undefined) => {
      if (why !== undefined) log(`a client was cut off: ${why}`);
      this.disconnect();
    };
    this.#client = { fd, pump: new InputPump({ fd, watcher, receiver, kind: "socket", onEnd }) };
    onClient();
  }
}
