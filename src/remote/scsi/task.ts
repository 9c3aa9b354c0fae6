/**
 * A command in execution: what the initiator sees of it.
 *
 * What executes a command is an {@linkcode Execution}. Those that are not worth a class of their own are written as generators; see
 * `steps.ts`.
 *
 * @module
 */
import {
  type DataDirection,
  type ScsiInitiator,
  type ScsiRequest,
  TaskAttribute,
  type TaskAttributeCode,
} from "./scsi.ts";
import type { Sense } from "./sense.ts";
import { type Steps, StepsExecution } from "./steps.ts";

/** How a command ended: GOOD when undefined, else CHECK CONDITION. */
export type Outcome = Sense | undefined;

/** How a command is executed, or how it has ended already. */
export type Command = Execution | Steps<Outcome> | Outcome;

/** Executes one command. Calls {@linkcode Task.end} once, unless the command is cancelled before. */
export interface Execution {
  /** Begins; the command may end from within this call. */
  begin(): void;
  /** The initiator has moved the chunk that {@linkcode Task.offer} gave it. */
  moved(): void;
  /**
   * Gives the command up, and everything that waits for it.
   *
   * @returns Whether its buffers are free. If not, {@linkcode Task.dropped} is called once no block request is in flight any more.
   */
  cancel(): boolean;
}

/** What becomes of a task. */
export interface TaskOwner {
  /** The command has run to its end and holds nothing any more; the initiator does not know it yet. Called once. */
  ended(task: Task, outcome: Outcome): void;
  /** The command was cancelled, and a block request of it is still in flight: {@linkcode dropped} follows. */
  draining(task: Task): void;
  /**
   * The command was cancelled and holds nothing any more, which may come after {@linkcode ended}. Called once.
   *
   * @param drained Whether {@linkcode draining} was called before.
   */
  dropped(task: Task, drained: boolean): void;
}

/** Longest CDB, in bytes. */
const MAX_CDB = 16;

const EMPTY: Uint8Array = new Uint8Array(0);

/** A task: the initiator's request on one side, the running command on the other. */
export class Task implements ScsiRequest {
  /** The CDB, zero-padded to 16 bytes. */
  readonly cdb = new Uint8Array(MAX_CDB);
  /** How many bytes the initiator sent. */
  readonly cdbLength: number;
  readonly initiator: ScsiInitiator;
  readonly tag: unknown;
  readonly attribute: TaskAttributeCode;
  readonly #owner: TaskOwner;
  #direction: DataDirection = "none";
  #remaining = 0;
  #chunk = EMPTY;
  #execution: Execution | undefined;
  #cancelled = false;
  #drains = false;

  constructor(
    owner: TaskOwner,
    initiator: ScsiInitiator,
    cdb: Uint8Array,
    tag: unknown,
    attribute: TaskAttributeCode = TaskAttribute.SIMPLE,
  ) {
    this.#owner = owner;
    this.initiator = initiator;
    this.tag = tag;
    this.attribute = attribute;
    this.cdbLength = Math.min(cdb.length, MAX_CDB);
    for (let i = 0; i < this.cdbLength; i++) this.cdb[i] = cdb[i];
  }

  get direction(): DataDirection {
    return this.#direction;
  }

  get remaining(): number {
    return this.#remaining;
  }

  get chunk(): Uint8Array {
    return this.#chunk;
  }

  /** Executes the command. To be called once. */
  run(command: Command): void {
    if (command === undefined || "key" in command) return this.end(command);
    this.#execution = "begin" in command ? command : new StepsExecution(this, command);
    this.#execution.begin();
  }

  resume(): void {
    if (this.#chunk.length === 0) return;
    this.#remaining -= this.#chunk.length;
    this.#chunk = EMPTY;
    this.#execution?.moved();
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#chunk = EMPTY;
    if (this.#execution === undefined || this.#execution.cancel()) return this.#drop();
    this.#drains = true;
    this.#owner.draining(this);
  }

  /** Announces the data phase: `length` bytes. To be called before the command first waits. */
  expect(direction: DataDirection, length: number): void {
    this.#direction = length === 0 ? "none" : direction;
    this.#remaining = length;
  }

  /** Has the initiator move a chunk, which is not empty: out of it for "in", into it for "out". */
  offer(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.initiator.dataReady(this);
  }

  /** For the execution: the command has ended. */
  end(outcome: Outcome): void {
    this.#finish();
    this.#owner.ended(this, outcome);
  }

  /** For the execution: nothing of the cancelled command is in flight any more. */
  dropped(): void {
    this.#drop();
  }

  #drop(): void {
    this.#finish();
    this.#owner.dropped(this, this.#drains);
  }

  #finish(): void {
    this.#execution = undefined;
    this.#chunk = EMPTY;
  }

  /** A whole data-in phase: as much of `data` as the initiator has room for (SPC-4, section 4.2.5.6). */
  *reply(data: Uint8Array, allocationLength: number): Steps<undefined> {
    const part = data.subarray(0, Math.min(data.length, allocationLength));
    this.expect("in", part.length);
    if (part.length > 0) yield part;
  }

  /** A whole data-out phase: a parameter list of `length` bytes. */
  *receive(length: number): Steps<Uint8Array> {
    const list = new Uint8Array(length);
    this.expect("out", length);
    if (length > 0) yield list;
    return list;
  }
}
