/**
 * A QMP server: one set of commands, any number of endpoints, on each of them one client after the other.
 *
 * @module
 */
import { type ByteStream, socketStream, standardStream } from "./byte_stream.ts";
import { ClientListener } from "./client_listener.ts";
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
  readonly #listener: ClientListener | undefined;
  #closed = false;

  constructor(endpoint: QmpEndpoint, options: QmpServerOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    const { connected, listener: socket } = endpoint;
    if (socket !== undefined) this.#listener = this.#makeListener(socket);
    if (connected !== undefined) this.#serve(connected === "stdio" ? standardStream() : socketStream(connected));
    else this.#listener?.listen();
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
    this.#listener?.close();
    this.session?.close();
  }

  #makeListener(socket: number): ClientListener {
    const onClient = (fd: number) => this.#serve(socketStream(fd));
    return new ClientListener({ socket, watcher: this.#options.watcher, onClient, log: (what) => this.#log(what) });
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
    if (!this.#closed) this.#listener?.listen();
  }

  #log(what: string): void {
    this.#options.log(`QMP on ${this.#endpoint.id}: ${what}`);
  }
}
