/**
 * Work that waits, written as if it did not.
 *
 * A device process never returns to JavaScript's event loop, so promises would never settle there. A coroutine is a generator
 * that yields what it waits for and is driven by the completions. Waits that are over at once cost no stack, however many.
 *
 * @module
 */
import type { EventLoop } from "../event_loop.ts";

/** Ends a wait; `error` is absent on success. */
export type Completion = (error?: Error) => void;

/** Starts something that calls back exactly once, at once or later from the loop. */
export type Wait = (done: Completion) => void;

/** Work in steps; a finished wait comes back with the error that it ended with. */
export type Coroutine<T> = Generator<Wait, T, Error | undefined>;

/**
 * Waits inside a coroutine: `yield* waitFor((done) => file.read(0, buffer, done))`.
 *
 * @throws the error that the wait ended with.
 */
export function* waitFor(start: Wait): Coroutine<void> {
  const error = yield start;
  if (error !== undefined) throw error;
}

/**
 * Starts several waits at once and waits for the end of all.
 *
 * @throws the first error that came, once nothing is in flight any more.
 */
export function* waitForAll(starts: readonly Wait[]): Coroutine<void> {
  if (starts.length === 0) return;
  yield* waitFor((done) => {
    let left = starts.length;
    let first: Error | undefined;
    const oneDone: Completion = (error) => {
      first ??= error;
      if (--left === 0) done(first);
    };
    for (const start of starts) start(oneDone);
  });
}

/**
 * Drives a coroutine. `done` is called once, from within this call where nothing had to be waited for. What it throws is
 * the caller's, not the coroutine's.
 */
export function run<T>(body: Coroutine<T>, done: (error: Error | undefined, value: T | undefined) => void): void {
  let driving = false;
  let due = true;
  let outcome: Error | undefined;
  const waited: Completion = (error) => {
    outcome = error;
    due = true;
    if (!driving) drive();
  };
  function drive(): void {
    driving = true;
    let end: { error?: Error; value?: T } | undefined;
    while (due) {
      due = false;
      try {
        const step = body.next(outcome);
        if (step.done) end = { value: step.value };
        else step.value(waited);
      } catch (error) {
        end = { error: error instanceof Error ? error : new Error(String(error)) };
      }
      if (end !== undefined) break;
    }
    driving = false;
    if (end !== undefined) done(end.error, end.value);
  }
  drive();
}

/**
 * Drives a coroutine to its end, taking turns of the loop meanwhile. For start-up, shut-down and tools: not to be called from within a
 * turn.
 *
 * @throws what the coroutine throws.
 */
export function runToEnd<T>(loop: EventLoop, body: Coroutine<T>): T {
  let end: { error: Error | undefined; value: T | undefined } | undefined;
  run(body, (error, value) => {
    end = { error, value };
  });
  while (end === undefined) loop.turn();
  if (end.error !== undefined) throw end.error;
  return end.value as T;
}
