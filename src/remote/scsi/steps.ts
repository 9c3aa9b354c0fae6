/**
 * Commands written as generators: they yield what they wait for and return how they ended.
 *
 * The generator is driven in a loop, so that initiators and block devices that answer from within the call cost no stack, however
 * long the transfer.
 *
 * @module
 */
import type { Wait } from "../../block/coroutine.ts";
import type { HeldRequest } from "./block_errors.ts";
import type { Execution, Outcome, Task } from "./task.ts";

/** A wait for the user to have a held request carried out again. */
export interface Hold {
  readonly hold: (retry: () => void) => HeldRequest;
}

/** What a command can wait for: a block request, a chunk that the initiator is to move, or a retry. */
export type Step = Wait | Uint8Array | Hold;

/** Part of a command's execution; a finished wait comes back with the error that it ended with. */
export type Steps<T> = Generator<Step, T, Error | undefined>;

/** Executes a command that is written as a generator. */
export class StepsExecution implements Execution {
  readonly #task: Task;
  readonly #steps: Steps<Outcome>;
  #inFlight = false;
  #held: HeldRequest | undefined;
  #cancelled = false;
  #driving = false;
  /** A wait is over and the generator can go on with `#error`. */
  #due = true;
  #error: Error | undefined;

  constructor(task: Task, steps: Steps<Outcome>) {
    this.#task = task;
    this.#steps = steps;
  }

  begin(): void {
    this.#drive();
  }

  moved(): void {
    this.#goOn();
  }

  cancel(): boolean {
    this.#cancelled = true;
    if (this.#inFlight) return false;
    this.#due = false;
    this.#held?.cancel();
    this.#steps.return(undefined); // runs the command's `finally` blocks, which give buffers back
    return true;
  }

  readonly #completed = (error?: Error): void => {
    this.#inFlight = false;
    this.#goOn(error);
  };

  #goOn(error?: Error): void {
    this.#error = error;
    this.#due = true;
    if (!this.#driving) this.#drive();
  }

  #drive(): void {
    this.#driving = true;
    while (this.#due) {
      this.#due = false;
      if (this.#cancelled) {
        this.#steps.return(undefined);
        this.#task.dropped();
        break;
      }
      const step = this.#steps.next(this.#error);
      if (step.done) {
        this.#task.end(step.value);
        break;
      }
      this.#wait(step.value);
    }
    this.#driving = false;
  }

  #wait(step: Step): void {
    if (step instanceof Uint8Array) {
      this.#task.offer(step);
    } else if (typeof step === "function") {
      this.#inFlight = true;
      step(this.#completed);
    } else {
      this.#held = step.hold(() => this.#goOn());
    }
  }
}
