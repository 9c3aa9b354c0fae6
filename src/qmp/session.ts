/**
 * One client of a QMP server: greeting, negotiation, then commands one after the other.
 *
 * @module
 */
import type { ByteStream } from "./byte_stream.ts";
import { asQmpError, checkArguments, type Commands, runCommand } from "./commands.ts";
import { Connection, type Watcher } from "./connection.ts";
import type { JsonItem, JsonLimits } from "./json_reader.ts";
import {
  encode,
  failure,
  greeting,
  type JsonObject,
  parseRequest,
  printable,
  QmpError,
  type Request,
  requestId,
  success,
} from "./protocol.ts";

/** Bounds of a request. The longest of the commands has some hundred bytes. */
export const REQUEST_LIMITS: JsonLimits = { size: 65536, nesting: 64 };

/** What a {@linkcode QmpSession} is made of. */
export interface QmpSessionOptions {
  readonly stream: ByteStream;
  readonly watcher: Watcher;
  readonly commands: Commands;
  /** Name and version for the greeting. */
  readonly program: string;
  readonly pretty: boolean;
  /** The client is gone; `why` where that was not its own wish. */
  readonly onEnd: (why: string | undefined) => void;
}

/** A client. While a command is in progress, no other of the same client begins. */
export class QmpSession {
  readonly #options: QmpSessionOptions;
  readonly #connection: Connection;
  #negotiated = false;

  constructor(options: QmpSessionOptions) {
    this.#options = options;
    const { stream, watcher, onEnd } = options;
    this.#connection = new Connection({
      ...{ stream, watcher, onEnd, limits: REQUEST_LIMITS },
      onItem: (item) => this.#handle(item),
    });
    this.#send(greeting(options.program));
  }

  /** Whether the client is gone. */
  get ended(): boolean {
    return this.#connection.ended;
  }

  /** Tells the client of an event, once it has negotiated. */
  tell(message: JsonObject): void {
    if (this.#negotiated) this.#send(message);
  }

  /** Ends it from this side. */
  close(): void {
    this.#connection.close();
  }

  #send(message: JsonObject): void {
    this.#connection.send(encode(message, this.#options.pretty));
  }

  #handle(item: JsonItem): void {
    if ("problem" in item) return this.#send(failure(new QmpError(`JSON parse error, ${item.problem}`), undefined));
    const id = requestId(item.value);
    this.#connection.hold();
    let answered = false;
    const reply = (result: unknown) => {
      if (answered) return;
      answered = true;
      this.#send(result instanceof QmpError ? failure(result, id) : success(result, id));
      this.#connection.release();
    };
    try {
      this.#execute(parseRequest(item.value), reply);
    } catch (error) {
      reply(asQmpError(error));
    }
  }

  #execute({ command, arguments: args }: Request, reply: (result: unknown) => void): void {
    if (!this.#negotiated) return reply(this.#negotiate(command, args));
    if (command === "qmp_capabilities") {
      throw new QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound");
    }
    runCommand(this.#options.commands, command, args, reply);
  }

  #negotiate(command: string, args: JsonObject): JsonObject {
    if (command !== "qmp_capabilities") {
      throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound");
    }
    checkArguments({ enable: { type: "array", optional: true } }, args);
    const [wanted] = (args.enable ?? []) as unknown[];
    if (wanted !== undefined) throw new QmpError(`Capability '${printable(String(wanted))}' is not offered`);
    this.#negotiated = true;
    return {};
  }
}
