/**
 * The part of the benchmark that starts things: splitvm and stock QEMU take turns, the first one another in each
 * repetition.
 *
 * @module
 */
import { buildStartupKernel } from "../guests/startup/mod.ts";
import { describeHost } from "./host.ts";
import { wrap } from "./report.ts";
import { measureStart, type StartTimes, traceStart } from "./startup.ts";
import { type Scenario, SCENARIOS, type StartFiles, type Subject } from "./startup_plan.ts";
import { phaseTable, startTable } from "./startup_report.ts";
import { type PhaseLine, phaseLines, scenarioLines, type StartLine } from "./startup_results.ts";

/** Size of the disk that starts have. */
const DISK_SIZE = 1 << 20;

/** All that the starts came to. */
export interface StartResults {
  readonly lines: readonly StartLine[];
  /** Where the reference's time goes, without and with a disk. */
  readonly phases: readonly PhaseLine[];
  readonly phasesWithDisk: readonly PhaseLine[];
  /** What could not be measured, with the reason. */
  readonly failures: ReadonlySet<string>;
}

/** The scenarios whose name, with one of their subjects', matches. */
export function chooseScenarios(filter: RegExp): Scenario[] {
  return SCENARIOS.flatMap((scenario) => {
    const subjects = scenario.subjects.filter(({ name }) => filter.test(`${scenario.name}, ${name}`));
    return subjects.length === 0 ? [] : [{ ...scenario, subjects }];
  });
}

/** Writes what the starts need into `folder`. */
function writeFiles(folder: string): StartFiles {
  const files = { kernel: `${folder}/startup.elf`, disk: `${folder}/startup.raw` };
  Deno.writeFileSync(files.kernel, buildStartupKernel());
  Deno.writeFileSync(files.disk, new Uint8Array(DISK_SIZE));
  return files;
}

/** The reference's traces in scenarios with a guest: those without a disk, then those with one. */
function traces(scenarios: readonly Scenario[], files: StartFiles, runs: number): PhaseLine[][] {
  return scenarios.filter(({ goal }) => goal === "guest").map(({ subjects }) => {
    const command = subjects.find(({ isReference }) => isReference)?.command;
    return command === undefined ? [] : phaseLines(Array.from({ length: runs }, () => traceStart(command(files))));
  });
}

/**
 * Measures.
 *
 * @param folder For files that are needed meanwhile.
 * @param progress Told what is being done.
 */
export function runStarts(
  scenarios: readonly Scenario[],
  folder: string,
  runs: number,
  progress: (text: string) => void,
): StartResults {
  const files = writeFiles(folder);
  const failures = new Set<string>();
  const times = new Map<Scenario, Map<Subject, StartTimes[]>>(scenarios.map((scenario) => [scenario, new Map()]));
  for (let turn = 0; turn < runs; turn++) {
    for (const scenario of scenarios) {
      const first = turn % scenario.subjects.length;
      for (const subject of [...scenario.subjects.slice(first), ...scenario.subjects.slice(0, first)]) {
        progress(`${scenario.name}: ${subject.name}, ${turn + 1} of ${runs}`);
        try {
          const start = measureStart(scenario, subject, files);
          times.get(scenario)!.getOrInsertComputed(subject, () => []).push(start);
        } catch (error) {
          failures.add(`${scenario.name}, ${subject.name}: ${error instanceof Error ? error.message : error}`);
        }
      }
    }
  }
  progress("start-up: phases");
  const [phases = [], phasesWithDisk = []] = traces(scenarios, files, runs);
  progress("");
  const lines = scenarios.flatMap((scenario) => scenarioLines(scenario, times.get(scenario)!));
  return { lines, phases, phasesWithDisk, failures };
}

/** The results as Markdown. */
export function describeStarts({ lines, phases, phasesWithDisk }: StartResults, folder: string, runs: number): string {
  const how = `Medians of ${runs} starts each (lowest–highest).`;
  const parts = [wrap(`${describeHost(folder)} ${how}`), startTable(lines)];
  if (phases.length > 0) parts.push("Where splitvm's time goes, without a disk:", phaseTable(phases));
  if (phasesWithDisk.length > 0) parts.push("And with a disk in a device process:", phaseTable(phasesWithDisk));
  return parts.join("\n\n");
}
