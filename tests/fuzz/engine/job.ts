/**
 * What goes between a fuzzing process and the one that has started it: lines of JSON.
 *
 * @module
 */

/** What a process is to fuzz, and for how long: one of the two. */
export interface Job {
  readonly target: string;
  readonly seed: number;
  /** With 0 nothing is fuzzed: what is wanted is {@linkcode Job.keep} of the corpus. */
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
  /** Equal for what is the same mistake. */
  readonly signature: string;
}

/** How far a job has come. */
export interface Extent {
  readonly inputs: number;
  readonly features: number;
  /** Inputs that have reached something new. */
  readonly corpus: number;
}

/** Said about every second. */
export interface Progress extends Extent {
  readonly kind: "progress";
  /** Resident memory in bytes. */
  readonly memory: number;
}

/** Said as soon as something is found: the process may not live until its job's end. */
export interface Discovery extends FoundCase {
  readonly kind: "discovery";
}

/** Said at the end of a job, after its discoveries. */
export interface Completion extends Extent {
  readonly kind: "completion";
  /** See {@linkcode Job.keep}; in base64. */
  readonly kept: readonly string[];
}

/** A line on the standard output of a fuzzing process. */
export type Line = Progress | Discovery | Completion;

/** What a job has come to. */
export interface JobResult extends Extent {
  readonly target: string;
  readonly seconds: number;
  /** Its last one may be the input with which the process was lost. */
  readonly findings: readonly FoundCase[];
  /** See {@linkcode Job.keep}; in base64. Undefined when the job did not come to its end. */
  readonly kept: readonly string[] | undefined;
}

/** Where the input that is being run lies in a shared file: its length in 32 bits, then its bytes. */
export const CurrentInput = { LENGTH: 0, BYTES: 4, SIZE: 0x10000 } as const;
