/**
 * What `deno task fuzz` is to do, as its command line says it, and who does which part.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import type { Job } from "./job.ts";

/** What is to be done. */
export interface Plan {
  /** For each target, all its processes together. */
  readonly budget: Pick<Job, "inputs" | "seconds">;
  /** Each one once. */
  readonly targets: readonly string[];
  readonly seed: number;
  /** Inputs to be kept of each target; 0 leaves the corpus as it is. */
  readonly keep: number;
}

/** A command line that means nothing. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Most inputs that are kept of a target: each one is run by the tests. */
const MOST_KEPT = 1000;

const isWhole = (digits: string) => /^\d{1,12}$/.test(digits);

function wholeNumber(option: string, digits: string, least: number, most: number): number {
  if (!isWhole(digits)) throw new UsageError(`${option}: not a whole number`);
  const value = Number(digits);
  if (value < least || value > most) throw new UsageError(`${option}: has to be from ${least} to ${most}`);
  return value;
}

function readBudget(text: string): Plan["budget"] {
  const option = `--budget=${text}`;
  const digits = text.replace(/s$/, "");
  if (!isWhole(digits)) throw new UsageError(`${option}: expected seconds, such as 60s, or a number of inputs`);
  if (digits !== text) return { seconds: wholeNumber(option, digits, 1, 1e9) };
  return { inputs: wholeNumber(option, text, 1, 1e12) };
}

/**
 * Reads a command line.
 *
 * @param known The targets that there are.
 * @returns "help" if that is what was asked for.
 * @throws {UsageError} for what is wrong, as it was written.
 */
export function readPlan(args: string[], known: readonly string[]): Plan | "help" {
  const today = Math.floor(Date.now() / 86_400_000);
  const options = parseArgs(args, {
    boolean: ["help"],
    string: ["budget", "target", "seed", "keep"],
    alias: { help: "h" },
    collect: ["budget", "target", "seed", "keep"],
    unknown: (word: string) => {
      throw new UsageError(`${word}: unknown`);
    },
  }) as unknown as { help: boolean } & Record<"budget" | "target" | "seed" | "keep", string[]>;
  if (options.help) return "help";
  const { target } = options;
  const single = (name: "budget" | "seed" | "keep", otherwise: string) => {
    const [value = otherwise, ...more] = options[name];
    if (more.length > 0) throw new UsageError(`--${name}=${more[0]}: --${name} is given twice`);
    return value;
  };
  const [budget, seed, keep] = [single("budget", "60s"), single("seed", `${today}`), single("keep", "0")];
  for (const name of target) if (!known.includes(name)) throw new UsageError(`--target=${name}: unknown`);
  return {
    budget: readBudget(budget),
    targets: target.length > 0 ? [...new Set(target)] : known,
    seed: wholeNumber(`--seed=${seed}`, seed, 0, 1e12),
    keep: wholeNumber(`--keep=${keep}`, keep, 0, MOST_KEPT),
  };
}

/**
 * The jobs of a plan. Where there are fewer targets than processes, several fuzz the same one, from different numbers,
 * and share the inputs that it is to have.
 *
 * @param corpus Inputs to begin with, in base64.
 */
export function jobsOf(
  { budget, targets, seed, keep }: Plan,
  processes: number,
  corpus: (target: string) => readonly string[],
): Job[] {
  const each = Math.min(Math.ceil(processes / targets.length), budget.inputs ?? Infinity);
  return targets.flatMap((target) => {
    const common = { target, corpus: corpus(target), keep };
    return Array.from({ length: each }, (_, i) => {
      const { inputs } = budget;
      const share = inputs === undefined ? budget : { inputs: Math.floor((inputs + i) / each) };
      return { ...common, ...share, seed: seed + i };
    });
  });
}
