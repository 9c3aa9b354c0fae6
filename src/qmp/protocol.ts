/**
 * QMP's messages (docs/interop/qmp-spec.txt of QEMU 7.2): requests and what is wrong with them, responses, events.
 *
 * @module
 */

/** Classes of errors that clients can tell apart (qapi/error.json). */
export type ErrorClass = "GenericError" | "CommandNotFound";

/** What a command is answered with when it cannot be carried out. */
export class QmpError extends Error {
  override readonly name = "QmpError";

  /** @param message For people: one sentence. */
  constructor(message: string, readonly errorClass: ErrorClass = "GenericError") {
    super(message);
  }
}

/** An object as JSON has it. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a value is an object in JSON's sense. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isRawNumber(value);
}

/** A number that JavaScript cannot hold exactly, as it was written. */
function isRawNumber(value: object): boolean {
  return (JSON as JSON & { isRawJSON(value: object): boolean }).isRawJSON(value);
}

/** A command that a client has sent. */
export interface Request {
  readonly command: string;
  readonly arguments: JsonObject;
}

/** Members of a request. */
const MEMBERS: readonly string[] = ["execute", "arguments", "id"];

/** The value that the client wants to see in the response; present even where the request is wrong otherwise. */
export function requestId(value: unknown): { readonly id: unknown } | undefined {
  return isObject(value) && Object.hasOwn(value, "id") ? { id: value.id } : undefined;
}

/** Checks a request. @throws {QmpError} */
export function parseRequest(value: unknown): Request {
  if (!isObject(value)) throw new QmpError("QMP input must be a JSON object");
  const stranger = Object.keys(value).find((key) => !MEMBERS.includes(key));
  if (stranger !== undefined) throw new QmpError(`QMP input member '${printable(stranger)}' is unexpected`);
  const { execute: command, arguments: given = {} } = value;
  if (command === undefined) throw new QmpError("QMP input lacks member 'execute'");
  if (typeof command !== "string") throw new QmpError("QMP input member 'execute' must be a string");
  if (!isObject(given)) throw new QmpError("QMP input member 'arguments' must be an object");
  return { command, arguments: given };
}

/** Longest piece of a client's text that an answer repeats. */
const QUOTE_LIMIT = 80;

/** A client's text, fit for one line. */
export function printable(text: string): string {
  const cut = text.length > QUOTE_LIMIT ? `${text.slice(0, QUOTE_LIMIT)}...` : text;
  // deno-lint-ignore no-control-regex
  return cut.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, "?");
}

/** The response to a command that was carried out. */
export function success(result: unknown, id: { readonly id: unknown } | undefined): JsonObject {
  return { return: result, ...id };
}

/** The response to one that was not. */
export function failure(error: QmpError, id: { readonly id: unknown } | undefined): JsonObject {
  return { error: { class: error.errorClass, desc: error.message }, ...id };
}

/** An event, with the time at which it is made. */
export function event(name: string, data: JsonObject | undefined): JsonObject {
  const now = Date.now();
  const timestamp = { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 };
  return { timestamp, event: name, ...data === undefined ? {} : { data } };
}

/**
 * The version in a greeting, in the form of QEMU's.
 *
 * `qemu` names the release whose schema commands and events follow, since that is what clients look at; `package` is the program's own.
 */
export function version(program: string) {
  return { qemu: { micro: 0, minor: 2, major: 7 }, package: program };
}

/** The first message of a server. It has no capabilities to offer. */
export function greeting(program: string): JsonObject {
  return { QMP: { version: version(program), capabilities: [] } };
}

/**
 * A message as it is sent: on a line of its own, in ASCII.
 *
 * @param pretty Whether it is spread over several lines for people to read.
 */
export function encode(message: JsonObject, pretty = false): Uint8Array<ArrayBuffer> {
  const text = JSON.stringify(message, undefined, pretty ? 4 : undefined);
  const escaped = text.replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return new TextEncoder().encode(`${escaped}\r\n`);
}
