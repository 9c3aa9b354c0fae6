/**
 * `deno task bench`: how fast things start, what the link costs, and the disk over it without a guest; splitvm beside stock
 * QEMU.
 *
 * @module
 */
import { errorChain } from "../src/error_chain.ts";
import { EXECUTABLE } from "../tests/support/machines.ts";
import { built, KVM, program, QEMU, type Requirement } from "../tests/support/requirements.ts";
import { describeDisk, runDisk } from "./disk_bench.ts";
import { describeHost } from "./host.ts";
import { LINK_PARTS, type LinkPart } from "./link_bench.ts";
import { parseCommandLine, positive } from "./options.ts";
import { progress, writeDocument, writePicture } from "./output.ts";
import { allPlacements, type Placement } from "./placement.ts";
import { allRows, type Row, rowLabels } from "./plan.ts";
import { chooseScenarios, describeStarts, runStarts } from "./startup_bench.ts";
import type { Scenario } from "./startup_plan.ts";

const USAGE = `Usage: deno task bench [options]

  --filter=TEXT   only rows whose operation, image and cache match this regular expression; 'start-up' is all that starts,
                  'link' all that is about the link
  --runs=N        repetitions; the median counts (default 3 for the disk, 7 for the link, 11 for starts)
  --seconds=S     how long each measurement takes (default 1)
  --cpus=1|2      driver and device process on one CPU, or on different ones (default both)
  --size=MIB      size of the images (default 256)
  --source        measure splitvm from source, not dist/splitvm
  --json          print JSON instead of a table
  --write-docs    put the tables into docs/performance.md`;

/** O_DIRECT needs a file system that has it, and tmpfs, which /tmp may be, has not. */
const IMAGE_FOLDER = "/var/tmp";

interface Options {
  readonly filter: RegExp;
  readonly runs: number;
  /** How often everything is started. */
  readonly starts: number;
  /** How often everything about the link is measured. */
  readonly linkRuns: number;
  readonly seconds: number;
  /** Bytes. */
  readonly size: number;
  readonly placements: readonly Placement[];
  readonly source: boolean;
  readonly json: boolean;
  readonly writeDocs: boolean;
}

function parseOptions(args: readonly string[]): Options {
  const given = parseCommandLine(args, USAGE, {
    defaults: { filter: "", seconds: "1", size: "256" },
    values: ["runs", "cpus"],
    flags: ["source", "json", "write-docs"],
  });
  return {
    filter: new RegExp(given.filter, "i"),
    runs: positive("runs", given.runs ?? "3", true),
    starts: positive("runs", given.runs ?? "11", true),
    linkRuns: positive("runs", given.runs ?? "7", true),
    seconds: positive("seconds", given.seconds, false),
    size: positive("size", given.size, true) * 1024 * 1024,
    placements: choosePlacements(given.cpus),
    source: given.source,
    json: given.json,
    writeDocs: given["write-docs"],
  };
}

function choosePlacements(cpus: string | undefined): readonly Placement[] {
  const possible = allPlacements();
  if (cpus === undefined) return possible;
  const chosen = possible.filter(({ name }) => name === cpus);
  if (chosen.length === 0) {
    throw new Error(`--cpus takes ${possible.map(({ name }) => name).join(" or ")}, not ${cpus}`);
  }
  return chosen;
}

/** What the disk needs. */
const TASKSET = program("taskset", "util-linux");
const DISK_TOOLS = [program("qemu-img", "qemu-utils"), program("dd", "coreutils"), TASKSET];

/** What starts need. */
const START_NEEDS = [KVM, built(EXECUTABLE)];

/** @throws {Error} naming what is not there. */
function checkRequirements(needs: readonly Requirement[]): void {
  const missing = needs.filter((need) => !need.isMet());
  if (missing.length === 0) return;
  const list = missing.map(({ name, remedy }) => `  ${name}: ${remedy}`).join("\n");
  throw new Error(`the benchmark compares splitvm with stock QEMU, and this is not there:\n${list}`);
}

/** Runs `body` with a folder that is gone afterwards. */
function withFolder(body: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ dir: IMAGE_FOLDER, prefix: "splitvm-bench-" });
  try {
    body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function benchDisk(rows: readonly Row[], options: Options): void {
  checkRequirements([QEMU, ...DISK_TOOLS, ...(options.source ? [] : [built(EXECUTABLE)])]);
  withFolder((folder) => {
    const results = runDisk(rows, folder, options);
    const text = describeDisk(results, folder, options);
    const [host, lines] = [describeHost(folder), results.lines()];
    if (options.json) {
      console.log(JSON.stringify({ host, runs: options.runs, seconds: options.seconds, lines }, null, 2));
    } else console.log(text);
    if (options.writeDocs) writeDocument("bench", text);
    for (const failure of results.failures) console.error(`not measured: ${failure}`);
  });
}

function benchLink(parts: readonly LinkPart[], { placements, linkRuns, seconds, json, writeDocs }: Options): void {
  checkRequirements([QEMU, TASKSET, ...START_NEEDS]);
  withFolder((folder) => {
    for (const { name, place, run } of parts) {
      const report = run({ build: EXECUTABLE, placements, runs: linkRuns, seconds, folder });
      progress("");
      if (json) console.log(JSON.stringify({ name, runs: linkRuns, figures: report.figures }, null, 2));
      else console.log(`${report.text}\n`);
      for (const failure of report.failures) console.error(`not measured: ${failure}`);
      if (!writeDocs) continue;
      writeDocument(place, report.text);
      for (const [file, svg] of report.pictures) writePicture(file, svg);
    }
  });
}

function benchStarts(scenarios: readonly Scenario[], options: Options): void {
  checkRequirements([QEMU, ...START_NEEDS]);
  withFolder((folder) => {
    const results = runStarts(scenarios, folder, options.starts, progress);
    const text = describeStarts(results, folder, options.starts);
    if (options.json) console.log(JSON.stringify({ starts: options.starts, ...results, failures: undefined }, null, 2));
    else console.log(text);
    if (options.writeDocs) writeDocument("bench:start-up", text);
    for (const failure of results.failures) console.error(`not measured: ${failure}`);
  });
}

function main(): void {
  const options = parseOptions(Deno.args);
  const scenarios = chooseScenarios(options.filter);
  const rows = allRows(options.placements).filter((row) => options.filter.test(rowLabels(row).join(", ")));
  const parts = LINK_PARTS.filter(({ name }) => options.filter.test(name));
  if (scenarios.length + parts.length + rows.length === 0) throw new Error("--filter leaves no row");
  if (scenarios.length > 0) benchStarts(scenarios, options);
  if (parts.length > 0) benchLink(parts, options);
  if (rows.length > 0) benchDisk(rows, options);
}

try {
  main();
} catch (error) {
  console.error(`bench: ${errorChain(error)}`);
  Deno.exit(1);
}
