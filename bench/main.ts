/**
 * `deno task bench`: how fast things start, and the disk over the link without a guest; splitvm beside stock QEMU.
 *
 * Each repetition starts device processes of its own. The competitors take turns, the first one another in each
 * repetition, so that what else the machine does hits all of them alike.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { errorChain } from "../src/error_chain.ts";
import { EXECUTABLE } from "../tests/support/machines.ts";
import { built, KVM, program, QEMU, type Requirement } from "../tests/support/requirements.ts";
import { describeHost } from "./host.ts";
import { forget, type Image, makeImages, remember } from "./images.ts";
import { allPlacements, type Placement } from "./placement.ts";
import { allRows, type Row, rowLabels, subjectsOf } from "./plan.ts";
import { markdownTable, replaceResults, wrap } from "./report.ts";
import { Results } from "./results.ts";
import { Session, type Subject } from "./session.ts";
import { chooseScenarios, describeStarts, runStarts } from "./startup_bench.ts";
import type { Scenario } from "./startup_plan.ts";
import { warmUp } from "./workloads.ts";

const USAGE = `Usage: deno task bench [options]

  --filter=TEXT   only rows whose operation, image and cache match this regular expression; 'start-up' is all that starts
  --runs=N        repetitions; the median counts (default 3, and 11 for starts)
  --seconds=S     how long each measurement takes (default 1)
  --cpus=1|2      driver and device process on one CPU, or on different ones (default both)
  --size=MIB      size of the images (default 256)
  --source        measure splitvm from source, not dist/splitvm
  --json          print JSON instead of a table
  --write-docs    put the tables into docs/performance.md`;

/** O_DIRECT needs a file system that has it, and tmpfs, which /tmp may be, has not. */
const IMAGE_FOLDER = "/var/tmp";

const DOCUMENT = new URL("../docs/performance.md", import.meta.url);

interface Options {
  readonly filter: RegExp;
  readonly runs: number;
  /** How often everything is started. */
  readonly starts: number;
  readonly seconds: number;
  /** Bytes. */
  readonly size: number;
  readonly placements: readonly Placement[];
  readonly source: boolean;
  readonly json: boolean;
  readonly writeDocs: boolean;
}

function parseOptions(args: readonly string[]): Options {
  const given = parseArgs([...args], {
    string: ["filter", "runs", "seconds", "size", "cpus"],
    boolean: ["source", "json", "write-docs", "help"],
    default: { filter: "", seconds: "1", size: "256" },
    unknown(argument: string) {
      throw new Error(`unknown argument ${argument}\n\n${USAGE}`);
    },
  });
  if (given.help) {
    console.log(USAGE);
    Deno.exit(0);
  }
  return {
    filter: new RegExp(given.filter, "i"),
    runs: positive("runs", given.runs ?? "3", true),
    starts: positive("runs", given.runs ?? "11", true),
    seconds: positive("seconds", given.seconds, false),
    size: positive("size", given.size, true) * 1024 * 1024,
    placements: choosePlacements(given.cpus),
    source: given.source,
    json: given.json,
    writeDocs: given["write-docs"],
  };
}

function positive(name: string, text: string, whole: boolean): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    throw new Error(`--${name} takes a positive ${whole ? "integer" : "number"}, not ${text}`);
  }
  return value;
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
const DISK_TOOLS = [program("qemu-img", "qemu-utils"), program("dd", "coreutils"), program("taskset", "util-linux")];

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

/** Measures what one subject does on one image, in one process, which is warm after the first seconds. */
function measure(rows: readonly Row[], subject: Subject, image: Image, options: Options, results: Results): void {
  const [{ cache, placement }] = rows;
  const drive = `file=${image.path},format=${image.format},cache=${cache}`;
  let session: Session;
  try {
    session = new Session(subject, drive, placement);
  } catch (error) {
    results.failures.add(`${subject.name}, ${image.format}, cache=${cache}: ${errorChain(error)}`);
    return;
  }
  try {
    progress(`${subject.name}: warming up`);
    warmUp(session);
    for (const row of rows) {
      progress(`${subject.name}: ${rowLabels(row).join(", ")}`);
      // A host short of memory takes back what has not been read for a while.
      if (cache === "writeback") remember(image.path);
      results.add(row, subject, session.measure(row.workload, options.seconds));
    }
  } finally {
    session.close();
  }
}

function run(rows: readonly Row[], images: readonly Image[], options: Options): Results {
  const results = new Results(rows);
  const groups = Map.groupBy(rows, ({ format, cache, placement }) => `${format} ${cache} ${placement.name}`);
  for (let turn = 0; turn < options.runs; turn++) {
    for (const group of groups.values()) {
      const [{ format, cache }] = group;
      const image = images.find((image) => image.format === format)!;
      (cache === "none" ? forget : remember)(image.path);
      const subjects = subjectsOf(group[0], options.source);
      const first = turn % subjects.length;
      for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) {
        measure(group, subject, image, options, results);
      }
    }
  }
  progress("");
  return results;
}

/** Says on a terminal's line what is being done. */
function progress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

function report(results: Results, options: Options): void {
  const lines = results.lines();
  const host = describeHost(IMAGE_FOLDER);
  const how = `Medians of ${options.runs} runs of ${options.seconds} s (lowest–highest), images of ` +
    `${options.size / 1024 / 1024} MiB.`;
  const text = `${wrap(`${host} ${how}`)}\n\n${markdownTable(lines)}`;
  if (options.json) console.log(JSON.stringify({ host, runs: options.runs, seconds: options.seconds, lines }, null, 2));
  else console.log(text);
  if (options.writeDocs) writeDocument("bench", text);
  for (const failure of results.failures) console.error(`not measured: ${failure}`);
}

function writeDocument(part: string, text: string): void {
  Deno.writeTextFileSync(DOCUMENT, replaceResults(Deno.readTextFileSync(DOCUMENT), text, part));
}

function benchDisk(rows: readonly Row[], options: Options): void {
  checkRequirements([QEMU, ...DISK_TOOLS, ...(options.source ? [] : [built(EXECUTABLE)])]);
  const formats = [...new Set(rows.map(({ format }) => format))];
  withFolder((folder) => report(run(rows, makeImages(folder, options.size, formats), options), options));
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
  if (scenarios.length + rows.length === 0) throw new Error("--filter leaves no row");
  if (scenarios.length > 0) benchStarts(scenarios, options);
  if (rows.length > 0) benchDisk(rows, options);
}

try {
  main();
} catch (error) {
  console.error(`bench: ${errorChain(error)}`);
  Deno.exit(1);
}
