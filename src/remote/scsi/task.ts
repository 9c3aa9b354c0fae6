/**
 * A command in execution.
 *
 * A command is written as a generator: it yields what it waits for (the initiator that moves a chunk, the block device that
 * completes a request) and returns how it ended. The task drives the generator in a loop, so that initiators and block
 * devices that answer from within the call cost no stack, however long the transfer.
 *
 * @module
 */
import type { DataDirection, ScsiInitiator, ScsiRequest } from "./scsi.ts";
import type { Sense } from "./sense.ts";

/** Starts something that calls back once, at once or later. */
export type Wait = (done: (error?: Error) => void) => void;

/** Part of a command's execution; a finished wait comes back with the error that it ended with. */
export type Steps<T> = Generator<Wait, T, Error | undefined>;

/** How a command ended: GOOD when undefined, else CHECK CONDITION. */
export type Outcome = Sense | undefined;

/** Longest CDB, in bytes. */
export const MAX_CDB = 16;

const EMPTY: Uint8Array = new Uint8Array(0);

/** What becomes of a task. Either is called once, when the task holds no buffer any more. */
export interface TaskOwner {
  /** The command has run to its end; the initiator does not know it yet. */
  ended(task: Task, outcome: Outcome): void;
  /** The command was cancelled. */
  dropped(task: Task): void;
}

/** A task: the initiator's request on one side, the running command on the other. */
export class Task implements ScsiRequest {
  /** The CDB, zero-padded to 16 bytes. */
  readonly cdb = new Uint8Array(MAX_CDB);
  /** How many bytes the initiator sent. */
  readonly cdbLength: number;
  readonly initiator: ScsiInitiator;
  readonly tag: unknown;
  readonly #owner: TaskOwner;
  #direction: DataDirection = "none";
  #remaining = 0;
  #chunk = EMPTY;
  #steps: Steps<Outcome> | undefined;
  /** Set while the initiator moves a chunk. */
  #moved: (() => void) | undefined;
  #cancelled = false;
  #driving = false;
  /** A wait is over and the generator can go on with `#error`. */
  #due = false;
  #error: Error | undefined;

  constructor(owner: TaskOwner, initiator: ScsiInitiator, cdb: Uint8Array, tag: unknown) {
    this.#owner = owner;
    this.initiator = initiator;
    this.tag = tag;
    this.cdbLength = Math.min(cdb.length, MAX_CDB);
    this.cdb.set(cdb.subarray(0, MAX_CDB));
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

  /** Whether {@linkcode cancel} was called. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Executes the command. */
  run(command: Steps<Outcome>): void {
    this.#steps = command;
    this.#due = true;
    this.#drive();
  }

  resume(): void {
    const moved = this.#moved;
    this.#moved = undefined;
    moved?.();
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    // Otherwise a block request is in flight, and its buffer has to stay until it completes.
    if (this.#moved !== undefined || this.#steps === undefined) this.#drop();
  }

  /** Announces the data phase: `length` bytes. To be called before the command first waits. */
  expect(direction: DataDirection, length: number): void {
    this.#direction = length === 0 ? "none" : direction;
    this.#remaining = length;
  }

  /** Has the initiator move a chunk: out of it for "in", into it for "out". */
  *move(chunk: Uint8Array): Steps<void> {
    yield (done) => {
      this.#chunk = chunk;
      this.#moved = done;
      this.initiator.dataReady(this);
    };
    this.#remaining -= chunk.length;
    this.#chunk = EMPTY;
  }

  /** A whole data-in phase: as much of `data` as the initiator has room for (SPC-4, section 4.2.5.6). */
  *reply(data: Uint8Array, allocationLength: number): Steps<undefined> {
    const part = data.subarray(0, Math.min(data.length, allocationLength));
    this.expect("in", part.length);
    if (part.length > 0) yield* this.move(part);
  }

  /** A whole data-out phase: a parameter list of `length` bytes. */
  *receive(length: number): Steps<Uint8Array> {
    const list = new Uint8Array(length);
    this.expect("out", length);
    if (length > 0) yield* this.move(list);
    return list;
  }

  readonly #waited = (error?: Error): void => {
    this.#error = error;
    this.#due = true;
    if (!this.#driving) this.#drive();
  };

  #drive(): void {
    this.#driving = true;
    while (this.#due && this.#steps !== undefined) {
      this.#due = false;
      if (this.#cancelled) {
        this.#drop();
        break;
      }
      const step = this.#steps.next(this.#error);
      if (step.done) {
        this.#steps = undefined;
        this.#owner.ended(this, step.value);
        break;
      }
      step.value(this.#waited);
    }
    this.#driving = false;
  }

  #drop(): void {
    const steps = this.#steps;
    this.#steps = this.#moved = undefined;
    this.#chunk = EMPTY;
    steps?.return(undefined); // runs the command's `finally` blocks, which give buffers back
    this.#owner.dropped(this);
  }
}
