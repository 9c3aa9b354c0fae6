/**
 * The part of the benchmark that is about the link: a guest's accesses to its device, the ring alone, the plain wire alone.
 *
 * @module
 */
import { errorChain } from "../src/error_chain.ts";
import type { Build } from "../tests/support/machines.ts";
import { svgChart } from "./chart.ts";
import { type AccessTimes, measureAccesses, writeAccessFiles } from "./device_access.ts";
import { type Access, ACCESS_CONTEST, type Competitor, COMPETITORS } from "./device_access_plan.ts";
import { missedGoalsText } from "./goals.ts";
import { describeHost } from "./host.ts";
import { describeIdle, IDLE_MACHINES, measureIdle, writeIdleFiles } from "./idle.ts";
import { ContestResults } from "./machine_results.ts";
import { progress } from "./output.ts";
import { type Placement, unpinSelf } from "./placement.ts";
import { wrap } from "./report.ts";
import { measureRing } from "./ring_bench.ts";
import { RingResults } from "./ring_results.ts";
import { summarize } from "./statistics.ts";
import { guestTscKhz } from "./tsc.ts";
import { runWire } from "./wire_bench.ts";

/** How to measure. */
export interface LinkOptions {
  readonly build: Build;
  readonly placements: readonly Placement[];
  readonly runs: number;
  /** How long each measurement without a guest takes. */
  readonly seconds: number;
  /** For files that are needed meanwhile. */
  readonly folder: string;
}

/** What a part of the link's benchmark came to. */
export interface LinkReport {
  /** Markdown. */
  readonly text: string;
  /** Pictures that the text shows, by their file's name. */
  readonly pictures: ReadonlyMap<string, string>;
  /** What could not be measured, with the reason. */
  readonly failures: readonly string[];
  /** All figures, for programs. */
  readonly figures: unknown;
}

/** A part: what `--filter` chooses it by, and its place in the document. */
export interface LinkPart {
  readonly name: string;
  readonly place: string;
  run(options: LinkOptions): LinkReport;
}

function heading({ folder, runs }: LinkOptions, more: string): string {
  return wrap(`${describeHost(folder)} Medians of ${runs} runs (lowest–highest)${more}.`);
}

/** Lets the competitors measure in turns. One that fails does not try again. */
function runAccesses({ folder, runs }: LinkOptions): ContestResults<Access> {
  unpinSelf();
  const tscKhz = guestTscKhz();
  const filesOf = writeAccessFiles(folder);
  const results = new ContestResults(ACCESS_CONTEST);
  for (let turn = 0; turn < runs; turn++) {
    const left = COMPETITORS.filter(({ name }) => !results.failures.has(name));
    const first = turn % left.length;
    for (const competitor of [...left.slice(first), ...left.slice(0, first)]) {
      progress(`a guest's accesses: ${competitor.name}, ${turn + 1} of ${runs}`);
      try {
        addTimes(results, competitor, measureAccesses(competitor.commands(filesOf(competitor)), tscKhz));
      } catch (error) {
        results.failures.set(competitor.name, errorChain(error));
      }
    }
  }
  return results;
}

function addTimes(results: ContestResults<Access>, { name }: Competitor, times: AccessTimes): void {
  for (const task of ACCESS_CONTEST.tasks) results.add(task, name, times[task.name]);
}

const ACCESS_PICTURE = "device_access.svg";

function reportAccesses(options: LinkOptions): LinkReport {
  const results = runAccesses(options);
  const title = "A guest's accesses to its device";
  const chart = results.chart(
    title,
    `Time as multiples of ${ACCESS_CONTEST.reference}: less is better. The dashed line is the goal.`,
  );
  const parts = [
    heading(options, ""),
    `![${title}, as multiples of what they take with the device in QEMU's process](${ACCESS_PICTURE})`,
    results.table(),
    missedGoalsText(results.judged()),
  ];
  return {
    text: parts.join("\n\n"),
    pictures: new Map([[ACCESS_PICTURE, svgChart(chart)]]),
    failures: [...results.failures].map(([name, reason]) => `${name}: ${reason}`),
    figures: results.toJson(),
  };
}

function reportRing(options: LinkOptions): LinkReport {
  const { placements, runs, seconds } = options;
  const results = new RingResults(placements);
  for (let turn = 0; turn < runs; turn++) {
    for (const placement of placements) {
      progress(`the ring, CPUs: ${placement.name}, ${turn + 1} of ${runs}`);
      results.add(placement, measureRing(placement, seconds));
    }
  }
  const text = [heading(options, ` of ${seconds} s`), results.table(), missedGoalsText(results.judged())].join("\n\n");
  return { text, pictures: new Map(), failures: [], figures: results.toJson() };
}

function reportWire(options: LinkOptions): LinkReport {
  const results = runWire(options);
  const text = [heading(options, ` of ${options.seconds} s`), results.table(), missedGoalsText(results.judged())];
  return { text: text.join("\n\n"), pictures: new Map(), failures: [], figures: results.toJson() };
}

/** How often each machine is measured: each time takes more than ten seconds. */
const IDLE_RUNS = 3;

function reportIdle(options: LinkOptions): LinkReport {
  const files = writeIdleFiles(options.folder);
  const figures = new Map(IDLE_MACHINES.map(({ name }) => [name, [] as number[]]));
  const runs = Math.min(options.runs, IDLE_RUNS);
  for (let turn = 0; turn < runs; turn++) {
    for (const machine of IDLE_MACHINES) {
      progress(`idle: ${machine.name}, ${turn + 1} of ${runs}`);
      figures.get(machine.name)!.push(measureIdle(machine, files));
    }
  }
  const summaries = new Map([...figures].map(([name, all]) => [name, summarize(all)]));
  const text = [heading({ ...options, runs }, ""), describeIdle(summaries)].join("\n\n");
  return { text, pictures: new Map(), failures: [], figures: Object.fromEntries(summaries) };
}

/** All parts, in the order in which they are measured and shown. */
export const LINK_PARTS: readonly LinkPart[] = [
  { name: "link: a guest's accesses", place: "bench:link-guest", run: reportAccesses },
  { name: "link: ring", place: "bench:link-ring", run: reportRing },
  { name: "link: plain wire", place: "bench:link-wire", run: reportWire },
  { name: "link: idle", place: "bench:link-idle", run: reportIdle },
];
