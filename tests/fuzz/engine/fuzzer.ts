/**
 * The fuzzer: runs a target with one input after the other, and keeps those that reach something new, to make others
 * of.
 *
 * @module
 */
import { randomNumbers } from "../../link/ring/random.ts";
import { Features, kindOf } from "./features.ts";
import { minimise } from "./minimise.ts";
import { mutate, type Random } from "./mutator.ts";
import type { Target } from "./target.ts";

/** An input that breaks something. */
export interface Finding {
  /** The shortest that was found. */
  readonly input: Uint8Array;
  /** What it breaks: the error, with its stack. */
  readonly what: string;
  /** Equal for what is the same mistake. */
  readonly signature: string;
}

/** What a {@linkcode Fuzzer} is made of. */
export interface FuzzerOptions {
  readonly target: Target;
  /** Where the random numbers begin: the same seed and corpus make the same inputs. */
  readonly seed: number;
  /** Inputs to begin with, after the target's seeds. */
  readonly corpus?: readonly Uint8Array[];
  /** Called with each input before it is run. */
  readonly onInput?: (input: Uint8Array) => void;
  /** Called with each finding, as small as it gets. */
  readonly onFinding?: (finding: Finding) => void;
}

/** Inputs that are kept at most; then a new one takes the place of another. */
const LARGEST_CORPUS = 4096;

/** Different findings that are kept at most: behind so many, one mistake hides the next. */
const MOST_FINDINGS = 16;

/** Ways of failing are told apart by the message, and by where in the program it was thrown. */
function signatureOf(error: unknown): string {
  if (!(error instanceof Error)) return kindOf(String(error));
  const frames = (error.stack ?? "").split("\n").filter((line) => line.includes("/src/"));
  return [error.name, kindOf(error.message), frames[0]?.trim() ?? ""].join(" ");
}

function describe(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

/** Fuzzes one target. */
export class Fuzzer {
  readonly features: Features = new Features();
  readonly #target: Target;
  readonly #random: Random;
  readonly #onInput: (input: Uint8Array) => void;
  readonly #onFinding: (finding: Finding) => void;
  /** Still to be run as they are. */
  readonly #pending: Uint8Array[];
  readonly #corpus: Uint8Array[] = [];
  readonly #findings = new Map<string, Finding>();
  #inputs = 0;

  constructor({ target, seed, corpus = [], onInput = () => {}, onFinding = () => {} }: FuzzerOptions) {
    this.#target = target;
    // Seeds that are near each other make numbers that are not.
    this.#random = randomNumbers(Math.imul(seed + 1, 0x9e3779b1));
    this.#onInput = onInput;
    this.#onFinding = onFinding;
    this.#pending = [...target.seeds.map(({ bytes }) => bytes), ...corpus].reverse();
  }

  /** How many inputs have been run, those included that made a finding smaller. */
  get inputs(): number {
    return this.#inputs;
  }

  /** The inputs that have reached something new, in the order of discovery. */
  get corpus(): readonly Uint8Array[] {
    return this.#corpus;
  }

  /** One for each way of failing. */
  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  /** Runs the next input. */
  step(): void {
    const input = this.#pending.pop() ?? this.#invent();
    const error = this.#try(input);
    if (this.features.commit() > 0) this.#keep(input);
    if (error !== undefined) this.#found(input, error.value);
  }

  #invent(): Uint8Array {
    const corpus = this.#corpus;
    if (corpus.length === 0) return Uint8Array.from({ length: 1 + this.#random(32) }, () => this.#random(256));
    // Half of the time one of the newest: what was reached last is what least has been made of.
    const recent = this.#random(2) === 0 ? Math.max(0, corpus.length - 32) : 0;
    const input = corpus[recent + this.#random(corpus.length - recent)];
    return mutate(this.#random, input, corpus[this.#random(corpus.length)], this.#target);
  }

  #try(input: Uint8Array): { value: unknown } | undefined {
    this.#inputs++;
    this.#onInput(input);
    try {
      this.#target.run(input, this.features);
      return undefined;
    } catch (value) {
      return { value };
    }
  }

  #keep(input: Uint8Array): void {
    if (this.#corpus.length < LARGEST_CORPUS) this.#corpus.push(input);
    else this.#corpus[this.#random(LARGEST_CORPUS)] = input;
  }

  #found(input: Uint8Array, error: unknown): void {
    const signature = signatureOf(error);
    if (this.#findings.has(signature) || this.#findings.size === MOST_FINDINGS) return;
    let what = describe(error);
    const smallest = minimise(input, (candidate) => {
      const again = this.#try(candidate);
      this.features.discard();
      if (again === undefined || signatureOf(again.value) !== signature) return false;
      what = describe(again.value);
      return true;
    });
    const finding = { input: smallest, what, signature };
    this.#findings.set(signature, finding);
    this.#onFinding(finding);
  }
}
