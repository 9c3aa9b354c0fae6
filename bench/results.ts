/**
 * Measurements, and what they come to.
 *
 * @module
 */
import { type Row, rowLabels } from "./plan.ts";
import type { Measurement, Subject } from "./session.ts";
import { median, summarize, type Summary } from "./statistics.ts";
import type { Unit } from "./workloads.ts";

/** What a subject reached in a row. */
export interface Score {
  readonly subject: string;
  readonly figure: Summary;
  /** Medians, in microseconds of CPU time for each operation. */
  readonly deviceCpu: number;
  readonly driverCpu: number;
}

/** A line of the table. */
export interface Line {
  readonly workload: string;
  readonly image: string;
  readonly cache: string;
  readonly cpus: string;
  readonly unit: Unit;
  readonly splitvm: Score | undefined;
  /** The best of QEMU's variants. */
  readonly qemu: Score | undefined;
  /** How many times as fast as QEMU splitvm is. */
  readonly ratio: number | undefined;
}

/** See the module. */
export class Results {
  /** In the order in which they are shown. */
  readonly #rows: Map<Row, Map<Subject, Measurement[]>>;
  /** What could not be measured, with the reason. */
  readonly failures = new Set<string>();

  constructor(rows: readonly Row[]) {
    this.#rows = new Map(rows.map((row) => [row, new Map()]));
  }

  add(row: Row, subject: Subject, measurement: Measurement): void {
    const subjects = this.#rows.get(row)!;
    // Subjects are made anew for each repetition, so they are found by name.
    const known = [...subjects.keys()].find(({ name }) => name === subject.name) ?? subject;
    subjects.set(known, [...subjects.get(known) ?? [], measurement]);
  }

  lines(): Line[] {
    return [...this.#rows].map(([row, subjects]) => {
      const [workload, image, cache, cpus] = rowLabels(row);
      const { unit } = row.workload;
      const scores = (program: string) =>
        [...subjects].filter(([subject]) => subject.program === program).map(([{ name }, all]) => score(name, all));
      const [splitvm, qemu] = [scores("splitvm"), scores("QEMU")].map(best);
      const ratio = splitvm && qemu && splitvm.figure.median / qemu.figure.median;
      return { workload, image, cache, cpus, unit, splitvm, qemu, ratio };
    });
  }
}

function score(subject: string, all: readonly Measurement[]): Score {
  return {
    subject,
    figure: summarize(all.map(({ figure }) => figure)),
    deviceCpu: median(all.map(({ deviceCpu }) => deviceCpu)),
    driverCpu: median(all.map(({ driverCpu }) => driverCpu)),
  };
}

function best(candidates: readonly Score[]): Score | undefined {
  return candidates.toSorted((a, b) => b.figure.median - a.figure.median)[0];
}
