/**
 * Long work that Ctrl-C can end in good order.
 *
 * Signals reach JavaScript only in turns of Deno's own event loop, which does not turn while splitvm waits for I/O. Work is
 * therefore driven with pauses: every so often, between two of its waits, Deno gets a turn.
 *
 * @module
 */
import { type Coroutine, run, type Wait } from "../block/coroutine.ts";
import type { EventLoop } from "../event_loop.ts";
import { catchSignals, type Interrupted } from "../interrupted.ts";

/** Milliseconds between two pauses. */
const BETWEEN_PAUSES = 50;

/** Drives work that signals can interrupt. */
export class Interruptible {
  readonly #loop: EventLoop;
  readonly #remove: () => void;
  /** Work that pauses until Deno has had its turn. */
  #paused: (() => void)[] = [];
  #lastPause = performance.now();
  #interrupted: Interrupted | undefined;

  /** From here on, signals interrupt the work instead of ending the process. */
  constructor(loop: EventLoop) {
    this.#loop = loop;
    this.#remove = catchSignals((error) => {
      this.#interrupted ??= error;
    });
  }

  /** Signals end the process again. */
  [Symbol.dispose](): void {
    this.#remove();
  }

  /** The same work, with pauses; once a signal has come, it throws {@linkcode Interrupted} between two waits. */
  *guard<T>(body: Coroutine<T>): Coroutine<T> {
    let told = false;
    let step = body.next();
    while (!step.done) {
      const error = yield step.value;
      if (performance.now() - this.#lastPause >= BETWEEN_PAUSES) yield this.#pause;
      if (told || this.#interrupted === undefined) {
        step = body.next(error);
      } else {
        told = true; // what the work then does to clean up is not interrupted
        step = body.throw(this.#interrupted);
      }
    }
    return step.value;
  }

  /** Drives work to its end. @throws what it throws. */
  async drive<T>(body: Coroutine<T>): Promise<T> {
    let end: { error: Error | undefined; value: T | undefined } | undefined;
    run(body, (error, value) => {
      end = { error, value };
    });
    while (end === undefined) {
      if (this.#paused.length > 0) await this.#takeBreak();
      else this.#loop.turn();
    }
    if (end.error !== undefined) throw end.error;
    return end.value as T;
  }

  readonly #pause: Wait = (done) => {
    this.#paused.push(done);
  };

  async #takeBreak(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#lastPause = performance.now();
    const paused = this.#paused;
    this.#paused = [];
    for (const go of paused) go();
  }
}
