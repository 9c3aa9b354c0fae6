/**
 * `deno task fuzz`: fuzzes for long, one process for each CPU, and keeps what it finds. See docs/testing.md.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { forgetReached, keepInput, readCorpus } from "./engine/corpus_files.ts";
import { FuzzProcess } from "./engine/fuzz_process.ts";
import type { Job, JobResult } from "./engine/job.ts";
import { TARGETS } from "./targets/mod.ts";

const USAGE = `deno task fuzz [--budget=SECONDSs|INPUTS] [--target=NAME]... [--seed=NUMBER] [--keep=COUNT]

--budget  how long each target is fuzzed: seconds (60s, the default) or inputs (1000000)
--target  one of ${Object.keys(TARGETS).join(", ")}; all if left out
--seed    where random numbers begin; another one each day if left out
--keep    replaces what the corpus keeps of a target by the COUNT inputs that reach most beyond its seeds`;

/** What is to be done. */
interface Plan {
  readonly budget: Pick<Job, "inputs" | "seconds">;
  readonly targets: readonly string[];
  readonly seed: number;
  readonly keep: number | undefined;
}

function fail(problem: string): never {
  console.error(`${problem}\n\n${USAGE}`);
  Deno.exit(2);
}

function wholeNumber(name: string, text: string): number {
  return /^\d{1,12}$/.test(text) ? Number(text) : fail(`--${name}=${text}: not a whole number`);
}

function readPlan(args: string[]): Plan {
  const today = Math.floor(Date.now() / 86_400_000);
  const options = parseArgs(args, {
    string: ["budget", "target", "seed", "keep"],
    collect: ["target"],
    unknown: (word: string) => fail(`${word}: unknown`),
  }) as unknown as { budget?: string; target: string[]; seed?: string; keep?: string };
  const { budget = "60s", target, seed = `${today}`, keep } = options;
  for (const name of target) if (!Object.hasOwn(TARGETS, name)) fail(`--target=${name}: unknown`);
  return {
    budget: budget.endsWith("s")
      ? { seconds: wholeNumber("budget", budget.slice(0, -1)) }
      : { inputs: wholeNumber("budget", budget) },
    targets: target.length > 0 ? target : Object.keys(TARGETS),
    seed: wholeNumber("seed", seed),
    keep: keep === undefined ? undefined : wholeNumber("keep", keep),
  };
}

/** Where there are fewer targets than CPUs, several processes fuzz the same one, from different numbers. */
function jobsOf({ budget, targets, seed, keep = 0 }: Plan, processes: number): Job[] {
  const each = Math.ceil(processes / targets.length);
  return targets.flatMap((target) => {
    const corpus = readCorpus(target).map(({ bytes }) => bytes.toBase64());
    return Array.from({ length: each }, (_, i) => ({ target, seed: seed + i, ...budget, corpus, keep }));
  });
}

/** Has each process take the next job until there is none. */
async function carryOut(jobs: readonly Job[], processes: number): Promise<JobResult[]> {
  const results: JobResult[] = [];
  const left = [...jobs];
  await Promise.all(Array.from({ length: processes }, async () => {
    const process = new FuzzProcess();
    for (let job = left.shift(); job !== undefined; job = left.shift()) {
      const result = await process.run(job);
      results.push(result);
      console.error(`${job.target}: ${result.inputs} inputs, ${result.findings.length} findings`);
    }
    await process.close();
  }));
  return results;
}

async function keepAll(results: readonly JobResult[], keep: number | undefined): Promise<void> {
  if (keep !== undefined) { for (const target of new Set(results.map(({ target }) => target))) forgetReached(target); }
  for (const { target, findings, kept } of results) {
    for (const input of kept) await keepInput(target, "reached", Uint8Array.fromBase64(input));
    for (const { input, what } of findings) {
      const path = await keepInput(target, "found", Uint8Array.fromBase64(input));
      console.error(`\ntests/fuzz/corpus/${path}\n${what}`);
    }
  }
}

/** Results of several processes with one target, as one. */
function joined(results: readonly JobResult[]): (string | number)[] {
  const sum = (of: (result: JobResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const most = (of: (result: JobResult) => number) => Math.max(...results.map(of));
  const [inputs, seconds] = [sum(({ inputs }) => inputs), most(({ seconds }) => seconds)];
  return [
    ...[results[0].target, inputs, Math.round(inputs / seconds)],
    ...[most(({ features }) => features), most(({ corpus }) => corpus), sum(({ findings }) => findings.length)],
  ];
}

function table(rows: readonly (readonly (string | number)[])[]): string {
  const cells = [["target", "inputs", "inputs/s", "features", "corpus", "findings"], ...rows].map((row) =>
    row.map((cell) => typeof cell === "number" ? cell.toLocaleString("en") : cell)
  );
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ");
  return cells.map(line).join("\n");
}

if (import.meta.main) {
  const plan = readPlan(Deno.args);
  const processes = navigator.hardwareConcurrency;
  console.error(`seed ${plan.seed}, ${processes} processes`);
  const results = await carryOut(jobsOf(plan, processes), processes);
  await keepAll(results, plan.keep);
  const byTarget = plan.targets.map((name) => results.filter(({ target }) => target === name));
  console.log(table(byTarget.map(joined)));
  Deno.exit(results.some(({ findings }) => findings.length > 0) ? 1 : 0);
}
