/**
 * What goes between a fuzzing process and the one that has started it: lines of JSON.
 *
 * @module
 */

/** What a process is to fuzz, and for how long: one of the two. */
export interface Job {
  readonly target: string;
  readonly seed: number;
  readonly inputs?: number;
  readonly seconds?: number;
  /** Inputs to begin with, in base64. */
  readonly corpus: readonly string[];
  /** How many of the inputs that together reach most are wanted. */
  readonly keep: number;
}

/** Something that broke a target. */
export interface FoundCase {
  /** The input, in base64. */
  readonly input: string;
  readonly what: string;
}

/** Said about every second. */
export interface Progress {
  readonly kind: "progress";
  readonly inputs: number;
  /** Resident memory in bytes. */
  readonly memory: number;
}

/** Said at the end of a job. */
export interface JobResult {
  readonly kind: "result";
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  readonly features: number;
  /** Inputs that have reached something new. */
  readonly corpus: number;
  readonly findings: readonly FoundCase[];
  /** See {@linkcode Job.keep}; in base64. */
  readonly kept: readonly string[];
}

/** Where the input that is being run lies in a shared file: its length in 32 bits, then its bytes. */
export const CurrentInput = { LENGTH: 0, BYTES: 4, SIZE: 0x10000 } as const;
