/**
 * The QMP client by which a VMM hears of the errors of a device process that it spawned, and has it go on.
 *
 * The process is not trusted. It can have the machine stand still, which an error that is to stop it does anyway, and have events told about
 * its own drives. A message that is none of those that are expected, or too many of them, end the control link with one line; the device
 * itself goes on.
 *
 * @module
 */
import type { BlockErrorAction, BlockIoError } from "../qmp/block_info.ts";
import { socketStream } from "../qmp/byte_stream.ts";
import { Connection, type Watcher } from "../qmp/connection.ts";
import type { JsonItem, JsonLimits } from "../qmp/json_reader.ts";
import { encode, isObject, type JsonObject, printable } from "../qmp/protocol.ts";

/** The longest message is the description of 128 drives with two paths each. */
const ANSWER_LIMITS: JsonLimits = { size: 2 ** 21, nesting: 16 };

/** How many messages a process may send at once, and again in each second. Each command of a disk may fail once. */
const MESSAGE_BURST = 4096;
const MESSAGES_PER_SECOND = 256;

/** How long a process may take to answer, in milliseconds. */
const ANSWER_TIMEOUT = 5_000;

/** Events that change nothing here: what they tell is in the errors. */
const QUIET_EVENTS: readonly unknown[] = ["STOP", "RESUME", "SHUTDOWN"];

const ACTIONS: readonly unknown[] = ["ignore", "report", "stop"] satisfies BlockErrorAction[];

/** What a {@linkcode DeviceControl} is made of. */
export interface DeviceControlOptions {
  /** The device's id, for messages. */
  readonly id: string;
  /** A socket to the process; owned. */
  readonly fd: number;
  /** The ids of its drives: it can tell of no others. */
  readonly drives: readonly string[];
  readonly watcher: Watcher;
  /** A drive has failed. */
  readonly onBlockError: (error: BlockIoError) => void;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
  /** Milliseconds of a monotonic clock. @default {performance.now} */
  readonly now?: () => number;
}

/** Takes what a command returned; `undefined` when the process has refused, is gone, or does not answer in time. */
export type Answer = (result: unknown) => void;

/** The client of one process. */
export class DeviceControl {
  readonly #options: DeviceControlOptions;
  readonly #connection: Connection;
  readonly #now: () => number;
  /** Whom the answers that are still to come are for, in order. */
  readonly #waiting: Answer[] = [];
  #greeted = false;
  #credit = MESSAGE_BURST;
  #creditAt: number;

  constructor(options: DeviceControlOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#creditAt = this.#now();
    this.#connection = new Connection({
      stream: socketStream(options.fd),
      watcher: options.watcher,
      limits: ANSWER_LIMITS,
      onItem: (item) => this.#handle(item),
      onEnd: (why) => this.#ended(why),
    });
    this.#send("qmp_capabilities", () => {});
  }

  /** Ends it: the process is gone, or was given up. */
  close(): void {
    this.#connection.close();
  }

  /** Has held requests carried out again. What fails again is told of like any other error; a process that does not answer holds up nobody. */
  resume(done: () => void): void {
    this.#ask("cont", () => done());
  }

  /** Asks for a description of the drives. */
  queryBlock(done: Answer): void {
    this.#ask("query-block", done);
  }

  /** Sends a command, and sees to it that `done` is called once, sooner or later. */
  #ask(command: string, done: Answer): void {
    if (this.#connection.ended) return done(undefined);
    let open = true;
    const finish = (result: unknown) => {
      if (!open) return;
      open = false;
      clearTimeout(timer);
      done(result);
    };
    const timer = setTimeout(() => finish(undefined), ANSWER_TIMEOUT);
    this.#send(command, finish);
  }

  #send(execute: string, answer: Answer): void {
    this.#waiting.push(answer);
    this.#connection.send(encode({ execute }));
  }

  #handle(item: JsonItem): void {
    const problem = this.#takeCredit() ?? ("problem" in item ? item.problem : this.#take(item.value));
    if (problem !== undefined) this.#connection.close(problem);
  }

  /** @returns what is wrong with the message, if something is. */
  #take(message: unknown): string | undefined {
    if (!isObject(message)) return "a message that is no object";
    if (!this.#greeted) {
      this.#greeted = "QMP" in message;
      return this.#greeted ? undefined : "no greeting";
    }
    if ("event" in message) return this.#event(message);
    if (!("return" in message) && !("error" in message)) return "a message that is neither an event nor an answer";
    const answer = this.#waiting.shift();
    if (answer === undefined) return "an answer to nothing";
    answer(message.return);
    return undefined;
  }

  #event({ event, data }: JsonObject): string | undefined {
    if (QUIET_EVENTS.includes(event)) return undefined;
    if (event !== "BLOCK_IO_ERROR") return `an unexpected event ${printable(String(event))}`;
    const error = blockIoError(data, this.#options.drives);
    if (error === undefined) return "a BLOCK_IO_ERROR that tells of no error of its drives";
    this.#options.onBlockError(error);
    return undefined;
  }

  /** @returns what is wrong, when the process sends more than it may. */
  #takeCredit(): string | undefined {
    const now = this.#now();
    this.#credit = Math.min(MESSAGE_BURST, this.#credit + (now - this.#creditAt) * MESSAGES_PER_SECOND / 1000);
    this.#creditAt = now;
    return --this.#credit < 0 ? "too many messages" : undefined;
  }

  #ended(why: string | undefined): void {
    // One that has gone away is missed by its proxy, which says so.
    if (why !== undefined) this.#options.log(`device ${this.#options.id}: the control link is closed: ${why}`);
    for (const answer of this.#waiting.splice(0)) answer(undefined);
  }
}

/** What a process tells of an error, or `undefined` when it is not of the form. */
function blockIoError(data: unknown, drives: readonly string[]): BlockIoError | undefined {
  if (!isObject(data)) return undefined;
  const { device, operation, action, nospace, reason } = data;
  if (typeof device !== "string" || !drives.includes(device)) return undefined;
  if (operation !== "read" && operation !== "write") return undefined;
  if (!ACTIONS.includes(action) || typeof nospace !== "boolean" || typeof reason !== "string") return undefined;
  return { device, operation, action: action as BlockErrorAction, nospace, reason: printable(reason) };
}
