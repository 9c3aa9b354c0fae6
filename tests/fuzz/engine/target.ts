/**
 * What is fuzzed.
 *
 * @module
 */
import type { Features } from "./features.ts";

/** An input that somebody has thought of: where the fuzzer begins. */
export interface Seed {
  /** What is in it, in a few words with hyphens. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A part of the program that takes what somebody hostile may send. */
export interface Target {
  readonly name: string;
  /** The longest input that makes sense, in bytes. */
  readonly maxLength: number;
  /** Runs of bytes that mean something: opcodes, keywords, addresses. */
  readonly dictionary: readonly Uint8Array[];
  readonly seeds: readonly Seed[];
  /**
   * Carries out one input, and checks afterwards that nothing is broken: that what must not change has not, and that
   * what is fuzzed still works.
   *
   * It depends on nothing but the input, so that an input which fails does so each time.
   *
   * @throws {Error} whatever it is, when something is.
   */
  run(input: Uint8Array, features: Features): void;
}

/** What an input has brought about that it must not. */
export class Broken extends Error {
  override name = "Broken";
}

/** Makes sure of an invariant. @throws {Broken} */
export function invariant(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Broken(message);
}
