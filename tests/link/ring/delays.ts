/**
 * Hold-ups at the steps of the ring's protocol.
 *
 * @module
 */
import type { RingStep, StepHook } from "../../../src/link/ring/steps.ts";
import { randomNumbers } from "./random.ts";

/** Where a side is held up. */
export type Delay = RingStep | "any" | "none";

/** Of so many times at a step, one is a hold-up. */
const INTERVAL = 4;

/** In units of 10 µs. */
const LONGEST = 40;

/** A hook that sleeps at one step, or at all of them, at random. */
export function delayHook(delay: Delay, seed: number): StepHook | undefined {
  if (delay === "none") return undefined;
  const random = randomNumbers(seed);
  const word = new Int32Array(new SharedArrayBuffer(4));
  return (step) => {
    if ((delay !== "any" && step !== delay) || random(INTERVAL) !== 0) return;
    Atomics.wait(word, 0, 0, random(LONGEST) / 100);
  };
}
