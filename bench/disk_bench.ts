/**
 * The part of the benchmark that works with a disk over the link without a guest.
 *
 * Each repetition starts device processes of its own. The competitors take turns, the first one another in each
 * repetition, so that what else the machine does hits all of them alike.
 *
 * @module
 */
import { errorChain } from "../src/error_chain.ts";
import { describeHost } from "./host.ts";
import { forget, type Image, makeImages, remember } from "./images.ts";
import { progress } from "./output.ts";
import { type Row, rowLabels, subjectsOf } from "./plan.ts";
import { markdownTable, wrap } from "./report.ts";
import { Results } from "./results.ts";
import { Session, type Subject } from "./session.ts";
import { warmUp } from "./workloads.ts";

/** How to measure. */
export interface DiskOptions {
  readonly runs: number;
  /** How long each measurement takes. */
  readonly seconds: number;
  /** Of the images, in bytes. */
  readonly size: number;
  /** Whether splitvm is measured from source. */
  readonly source: boolean;
}

/** Measures what one subject does on one image, in one process, which is warm after the first seconds. */
function measure(rows: readonly Row[], subject: Subject, image: Image, options: DiskOptions, results: Results): void {
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

/** Measures `rows` on images in `folder`. */
export function runDisk(rows: readonly Row[], folder: string, options: DiskOptions): Results {
  const images = makeImages(folder, options.size, [...new Set(rows.map(({ format }) => format))]);
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

/** The results as Markdown. */
export function describeDisk(results: Results, folder: string, { runs, seconds, size }: DiskOptions): string {
  const how = `Medians of ${runs} runs of ${seconds} s (lowest–highest), images of ${size / 1024 / 1024} MiB.`;
  return `${wrap(`${describeHost(folder)} ${how}`)}\n\n${markdownTable(results.lines())}`;
}
