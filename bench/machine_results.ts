/**
 * What several machines reach in the same tasks: figures, and how they compare with the one that is the measure.
 *
 * @module
 */
import type { Bar, Chart } from "./chart.ts";
import { type Goal, type Judged, verdict } from "./goals.ts";
import { NONE, number, spread, table } from "./report.ts";
import { summarize, type Summary } from "./statistics.ts";

/** A task that machines carry out. */
export interface Task {
  readonly title: string;
  readonly unit: string;
  /** Ours by the others': the bound of each ratio that has one, by the other's name. */
  readonly goals: Readonly<Record<string, Goal>>;
}

/** What is compared. Machines are named in the order of the table, ours first. */
export interface Contest<T extends Task> {
  readonly tasks: readonly T[];
  readonly machines: readonly string[];
  /** By what bars of a chart are measured: a machine's name. */
  readonly reference: string;
}

/** A task's figures, by machine; those that were not measured are not there. */
export interface ContestLine<T extends Task> {
  readonly task: T;
  readonly figures: ReadonlyMap<string, Summary>;
}

/** Collects figures, and compares them when all are there. */
export class ContestResults<T extends Task> {
  readonly #contest: Contest<T>;
  readonly #figures: Map<T, Map<string, number[]>>;
  /** What could not be measured, with the reason. */
  readonly failures = new Map<string, string>();

  constructor(contest: Contest<T>) {
    this.#contest = contest;
    this.#figures = new Map(contest.tasks.map((task) => [task, new Map()]));
  }

  add(task: T, machine: string, figure: number): void {
    this.#figures.get(task)!.getOrInsertComputed(machine, () => []).push(figure);
  }

  lines(): ContestLine<T>[] {
    return [...this.#figures].map(([task, all]) => ({
      task,
      figures: new Map([...all].map(([machine, figures]) => [machine, summarize(figures)])),
    }));
  }

  /** The machines that were measured. */
  get machines(): string[] {
    return this.#contest.machines.filter((name) => [...this.#figures.values()].some((all) => all.has(name)));
  }

  /** Ours by another's, of medians. */
  static ratio(line: ContestLine<Task>, ours: string, other: string): number | undefined {
    const [a, b] = [ours, other].map((name) => line.figures.get(name)?.median);
    return a === undefined || b === undefined ? undefined : a / b;
  }

  /** The table: figures, then ours by each of the others', with the goal. */
  table(): string {
    const [ours, ...others] = this.#contest.machines;
    const measured = this.machines;
    const compared = others.filter((name) => measured.includes(name));
    const withGoal = compared.filter((name) => this.#contest.tasks.some(({ goals }) => goals[name] !== undefined));
    const head = ["Operation", "Unit", ...measured, ...compared.map((name) => `${ours} : ${name}`)];
    const heads = [...head, ...withGoal.map((name) => `goal, by ${name}`)];
    const cells = (line: ContestLine<T>) => {
      const ratio = (name: string) => ContestResults.ratio(line, ours, name);
      return [
        line.task.title,
        line.task.unit,
        ...measured.map((name) => line.figures.has(name) ? spread(line.figures.get(name)!) : NONE),
        ...compared.map((name) => ratio(name)?.toFixed(2) ?? NONE),
        ...withGoal.map((name) => verdict(ratio(name), line.task.goals[name])),
      ];
    };
    return table([heads, ...this.lines().map(cells)], (column) => column < 2 || column >= head.length);
  }

  /** For programs. */
  toJson(): unknown {
    return this.lines().map(({ task: { title, unit }, figures }) => ({ title, unit, ...Object.fromEntries(figures) }));
  }

  /** All ratios that have a goal. */
  judged(): Judged[] {
    const [ours] = this.#contest.machines;
    return this.lines().flatMap((line) =>
      Object.entries(line.task.goals).map(([name, goal]) => ({
        name: `${line.task.title}, ${ours} : ${name}`,
        figure: ContestResults.ratio(line, ours, name),
        goal,
      }))
    );
  }

  /** Bars are multiples of the reference's figure. A task that the reference was not measured in has none. */
  chart(title: string, caption: string): Chart {
    const { reference } = this.#contest;
    const groups = this.lines().flatMap((line) => {
      const measure = line.figures.get(reference)?.median;
      if (measure === undefined) return [];
      const bars = this.machines.filter((name) => line.figures.has(name)).map((name): Bar => {
        const { median } = line.figures.get(name)!;
        const value = median / measure;
        return { name, value, label: `${value.toFixed(2)} × (${number(median)} ${line.task.unit})` };
      });
      return [{ title: line.task.title, bars, goal: line.task.goals[reference]?.bound }];
    });
    return { title, caption, groups };
  }
}
