/**
 * `deno task bench:lab`: the disk as Linux has it, in the lab (`tests/lab`), on splitvm and on stock QEMU.
 *
 * Each repetition starts a guest on each machine, in turns, the first another one each time.
 *
 * @module
 */
import { errorChain } from "../src/error_chain.ts";
import { DISK_MODULES, runGuest } from "../tests/lab/guest.ts";
import { noise } from "../tests/lab/disk_steps.ts";
import { Lab } from "../tests/lab/lab.ts";
import { packageFile, prepareParts } from "../tests/lab/parts.ts";
import { EXECUTABLE } from "../tests/support/machines.ts";
import { built, QEMU } from "../tests/support/requirements.ts";
import { svgChart } from "./chart.ts";
import { missedGoalsText } from "./goals.ts";
import { describeHost } from "./host.ts";
import {
  DISK_SIZE,
  LAB_CONTEST,
  LAB_MACHINES,
  type LabMachine,
  labScript,
  type LabTask,
  labTime,
  readLabFigures,
} from "./lab_plan.ts";
import { ContestResults } from "./machine_results.ts";
import { parseCommandLine, positive } from "./options.ts";
import { progress, writeDocument, writePicture } from "./output.ts";
import { wrap } from "./report.ts";

const USAGE = `Usage: deno task bench:lab [options]

  --filter=TEXT only machines whose name matches this regular expression
  --runs=N      repetitions; the median counts (default 3)
  --seconds=S   how long each measurement takes in the guest (default 4)
  --json        print JSON instead of a table
  --write-docs  put the table into docs/performance.md, and its picture beside it`;

interface Options {
  readonly filter: RegExp;
  readonly runs: number;
  readonly seconds: number;
  readonly json: boolean;
  readonly writeDocs: boolean;
}

function parseOptions(args: readonly string[]): Options {
  const given = parseCommandLine(args, USAGE, {
    defaults: { filter: "", runs: "3", seconds: "4" },
    flags: ["json", "write-docs"],
  });
  return {
    filter: new RegExp(given.filter, "i"),
    runs: positive("runs", given.runs, true),
    seconds: positive("seconds", given.seconds, true),
    json: given.json,
    writeDocs: given["write-docs"],
  };
}

/** Seconds for a guest to boot and to end in; it takes half a minute. */
const BOOT_PATIENCE = 120;

/** Runs a guest. @returns its figures. @throws {Error} saying what the machine or the guest complained of. */
async function measure(
  lab: Lab,
  { halves }: LabMachine,
  ioping: string,
  seconds: number,
): Promise<Map<LabTask, number>> {
  const { status, stderr, console, folder } = await runGuest(lab, {
    name: `bench-${halves.replaceAll(/\W+/g, "-").toLowerCase()}`,
    halves,
    modules: DISK_MODULES,
    programs: [ioping],
    disk: (path) => Deno.writeFile(path, noise(DISK_SIZE)),
    steps: { "the disk is measured": labScript(seconds) },
    timeout: BOOT_PATIENCE + labTime(seconds),
  });
  if (status !== 0) throw new Error(`${stderr.trim() || `status ${status}`} (${folder})`);
  return readLabFigures(console);
}

/** Lets the machines measure in turns. One that fails, which in the lab any does now and then, has its other turns. */
async function runLab({ filter, runs, seconds }: Options): Promise<ContestResults<LabTask>> {
  const results = new ContestResults(LAB_CONTEST);
  const machines = LAB_MACHINES.filter(({ name }) => filter.test(name));
  if (machines.length === 0) throw new Error("--filter leaves no machine");
  const ioping = await packageFile("ioping", "usr/bin/ioping");
  const lab = new Lab(await prepareParts(), { name: "bench", trustsTsc: true });
  try {
    for (let turn = 0; turn < runs; turn++) {
      const first = turn % machines.length;
      for (const machine of [...machines.slice(first), ...machines.slice(0, first)]) {
        progress(`${machine.name}, ${turn + 1} of ${runs}`);
        try {
          const figures = await measure(lab, machine, ioping, seconds);
          figures.forEach((figure, task) => results.add(task, machine.name, figure));
        } catch (error) {
          results.failures.set(machine.name, errorChain(error));
        }
      }
    }
  } finally {
    await lab.stop();
  }
  progress("");
  return results;
}

const PICTURE = "lab_disk.svg";
const TITLE = "Linux on the LSI disk, in the lab";

function report(results: ContestResults<LabTask>, { runs, seconds, json, writeDocs }: Options): void {
  const how = `Medians of ${runs} runs of ${seconds} s (lowest–highest), in the lab, whose processor is emulated.`;
  const text = [
    wrap(`${describeHost(Deno.cwd())} ${how}`),
    `![${TITLE}: rates as multiples of those with the device in QEMU's process](${PICTURE})`,
    results.table(),
    missedGoalsText(results.judged()),
  ].join("\n\n");
  if (json) console.log(JSON.stringify({ runs, seconds, figures: results.toJson() }, null, 2));
  else console.log(text);
  for (const [name, reason] of results.failures) console.error(`failed in a turn: ${name}: ${reason}`);
  if (!writeDocs) return;
  const caption = `Rates as multiples of ${LAB_CONTEST.reference}: more is better. The dashed line is the goal.`;
  writeDocument("bench:link-lab", text);
  writePicture(PICTURE, svgChart(results.chart(TITLE, caption)));
}

try {
  const options = parseOptions(Deno.args);
  const missing = [QEMU, built(EXECUTABLE)].find((need) => !need.isMet());
  if (missing !== undefined) throw new Error(`${missing.name} is not there: ${missing.remedy}`);
  report(await runLab(options), options);
} catch (error) {
  console.error(`bench: ${errorChain(error)}`);
  Deno.exit(1);
}
