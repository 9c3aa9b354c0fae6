/**
 * A QMP server: one set of commands, any number of endpoints, on each of them one client after the other.
 *
 * @module
 */
import type { Watch } from "../watches.ts";
import { errorChain } from "../error_chain.ts";
import { SyscallError } from "../ffi/errno.ts";
import { Ready } from "../ffi/event.ts";
import { acceptClient } from "../ffi/unix_socket.ts";
import { type ByteStream, socketStream, standardStream } from "./byte_stream.ts";
import { type Commands, query } from "./commands.ts";
import type { Watcher } from "./connection.ts";
import type { QmpEndpoint } from "./endpoint.ts";
import { event, type JsonObject, version } from "./protocol.ts";
import { QmpSession } from "./session.ts";

/** What a {@linkcode QmpServer} is made of. */
export interface QmpServerOptions {
  readonly watcher: Watcher;
  readonly endpoints: readonly QmpEndpoint[];
  /** Besides those that every server has. */
  readonly commands: Commands;
  /** Entries of `query-chardev` besides those of the endpoints. @default {none} */
  readonly chardevs?: () => JsonObject[];
  /** Name and version of the program: `splitvm-1.0.0`. */
  readonly program: string;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** Serves clients from the turns of a loop. */
export class QmpServer {
  /** All commands that clients can give. */
  readonly commands: Commands;
  readonly #places: readonly Place[];

  constructor(options: QmpServerOptions) {
    const { chardevs = () => [] } = options;
    const commands: Commands = {
      ...options.commands,
      "qmp_capabilities": query(() => ({})),
      "query-commands": query(() => Object.keys(commands).sort().map((name) => ({ name }))),
      "query-version": query(() => version(options.program)),
      "query-chardev": query(() => [...chardevs(), ...this.#places.map((place) => place.describe())]),
    };
    this.commands = commands;
    this.#places = options.endpoints.map((endpoint) => new Place(endpoint, { ...options, commands }));
  }

  /** Tells every client that has negotiated. */
  emit(name: string, data?: JsonObject): void {
    const message = event(name, data);
    for (const place of this.#places) place.session?.tell(message);
  }

  /** Ends all clients, and serves no further ones. The listening sockets stay open. */
  close(): void {
    for (const place of this.#places) place.close();
  }
}

/** An endpoint, and the client that is there. Others wait in the socket's queue until it has gone. */
class Place {
  session: QmpSession | undefined;
  readonly #endpoint: QmpEndpoint;
  readonly #options: QmpServerOptions;
  #watch: Watch | undefined;
  #closed = false;

  constructor(endpoint: QmpEndpoint, options: QmpServerOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    const { connected } = endpoint;
    if (connected !== undefined) this.#serve(connected === "stdio" ? standardStream() : socketStream(connected));
    else this.#listen();
  }

  /** An entry of `query-chardev` (ChardevInfo, qapi/char.json). */
  describe(): JsonObject {
    const { id: label, filename } = this.#endpoint;
    return {
      label,
      filename: this.session === undefined ? `disconnected:${filename}` : filename,
      "frontend-open": true,
    };
  }

  close(): void {
    this.#closed = true;
    this.#watch?.cancel();
    this.session?.close();
  }

  #listen(): void {
    const { listener } = this.#endpoint;
    if (listener === undefined || this.#closed) return;
    this.#watch = this.#options.watcher.watch(listener, Ready.IN, () => this.#accept(listener));
  }

  #accept(listener: number): void {
    if (this.session !== undefined) return;
    try {
      const client = acceptClient(listener);
      if (client === undefined) return;
      this.#watch?.cancel();
      this.#serve(socketStream(client));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // A client that waits would be ready for ever.
      this.#watch?.cancel();
      this.#log(`takes no clients any more: ${errorChain(error)}`);
    }
  }

  #serve(stream: ByteStream): void {
    const { watcher, commands, program } = this.#options;
    const { pretty } = this.#endpoint;
    const session = new QmpSession({ stream, watcher, commands, program, pretty, onEnd: (why) => this.#ended(why) });
    // A client that is gone already has made room for the next one.
    if (!session.ended) this.session = session;
  }

  #ended(why: string | undefined): void {
    this.session = undefined;
    if (why !== undefined) this.#log(`a client was cut off: ${why}`);
    this.#listen();
  }

  #log(what: string): void {
    this.#options.log(`QMP on ${this.#endpoint.id}: ${what}`);
  }
}
