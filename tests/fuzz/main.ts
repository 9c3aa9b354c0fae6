/**
 * `deno task fuzz`: fuzzes for long, one process for each CPU, and keeps what it finds. See docs/testing.md.
 *
 * @module
 */
import { Campaign, type TargetResult } from "./engine/campaign.ts";
import { readCorpus } from "./engine/corpus_files.ts";
import { jobsOf, type Plan, readPlan, UsageError } from "./engine/plan.ts";
import { TARGETS } from "./targets/mod.ts";

const USAGE = `deno task fuzz [--budget=SECONDSs|INPUTS] [--target=NAME]... [--seed=NUMBER] [--keep=COUNT]

--budget  how long each target is fuzzed: seconds (60s, the default) or inputs (1000000)
--target  one of ${Object.keys(TARGETS).join(", ")}; all if left out
--seed    where random numbers begin; another one each day if left out
--keep    replaces what the corpus keeps of a target by the COUNT inputs that reach most beyond its seeds
--help    prints this`;

/** Those with which one ends it, by their numbers: the exit status is 128 and the number, as shells have it. */
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Exits where there is nothing to do. */
function planOrExit(): Plan {
  try {
    const plan = readPlan(Deno.args, Object.keys(TARGETS));
    if (plan !== "help") return plan;
    console.log(USAGE);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    Deno.exit(2);
  }
  Deno.exit(0);
}

function table(results: readonly TargetResult[]): string {
  const rows = results.map(({ target, inputs, seconds, features, corpus, findings }) =>
    [target, inputs, Math.round(inputs / seconds), features, corpus, findings] as const
  );
  const cells = [["target", "inputs", "inputs/s", "features", "corpus", "findings"], ...rows].map((row) =>
    row.map((cell) => typeof cell === "number" ? cell.toLocaleString("en") : cell)
  );
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ");
  return cells.map(line).join("\n");
}

if (import.meta.main) {
  const plan = planOrExit();
  const processes = navigator.hardwareConcurrency;
  const campaign = new Campaign({ processes, say: (text) => console.error(text) });
  let signal = 0;
  for (const [name, number] of Object.entries(SIGNALS)) {
    Deno.addSignalListener(name as keyof typeof SIGNALS, () => {
      signal = number;
      campaign.stop();
    });
  }
  console.error(`seed ${plan.seed}, ${processes} processes`);
  const jobs = jobsOf(plan, processes, (target) => readCorpus(target).map(({ bytes }) => bytes.toBase64()));
  await campaign.run(jobs);
  await campaign.keepReached(jobs, plan.keep);
  const results = campaign.summary(plan.targets);
  console.log(table(results));
  const found = results.some(({ findings }) => findings > 0);
  Deno.exit(signal > 0 ? 128 + signal : found ? 1 : 0);
}
