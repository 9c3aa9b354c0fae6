/**
 * What a figure ought to be, and by how much it is not.
 *
 * @module
 */
import { listItem, NONE } from "./report.ts";

/** A bound of a figure. */
export interface Goal {
  readonly kind: "at most" | "at least";
  readonly bound: number;
}

/** A goal that a figure misses when it is above the bound. */
export function atMost(bound: number): Goal {
  return { kind: "at most", bound };
}

/** A goal that a figure misses when it is below the bound. */
export function atLeast(bound: number): Goal {
  return { kind: "at least", bound };
}

/** By what part of the bound a figure misses its goal; 0 where it does not. */
export function shortfall(figure: number, { kind, bound }: Goal): number {
  return Math.max(0, kind === "at most" ? figure / bound - 1 : 1 - figure / bound);
}

/** A part in percent, never 0 of what is more. */
function percent(part: number): string {
  return part < 0.01 ? "less than 1%" : `${Math.round(100 * part)}%`;
}

/** What a table says of a figure: its goal, and whether it is met. */
export function verdict(figure: number | undefined, goal: Goal | undefined): string {
  if (goal === undefined) return NONE;
  const text = `${goal.kind === "at most" ? "≤" : "≥"} ${goal.bound}`;
  if (figure === undefined) return text;
  const missed = shortfall(figure, goal);
  return missed === 0 ? `${text}: met` : `${text}: missed by ${percent(missed)}`;
}

/** A figure that has a goal. */
export interface Judged {
  /** What it is, with its unit. */
  readonly name: string;
  /** `undefined` where it was not measured. */
  readonly figure: number | undefined;
  readonly goal: Goal | undefined;
}

/** A sentence on each goal that is missed; on none where all are met, or nothing was measured. */
export function missedGoals(all: readonly Judged[]): string[] {
  return all.flatMap(({ name, figure, goal }) => {
    if (figure === undefined || goal === undefined) return [];
    const missed = shortfall(figure, goal);
    if (missed === 0) return [];
    return [
      `${name}: ${figure.toFixed(2)}, where the goal is ${goal.kind} ${goal.bound}; missed by ${percent(missed)}.`,
    ];
  });
}

/** What stands below a table: the goals that are missed. */
export function missedGoalsText(judged: readonly Judged[]): string {
  if (!judged.some(({ figure, goal }) => figure !== undefined && goal !== undefined)) return "No goal was measured.";
  const missed = missedGoals(judged);
  if (missed.length === 0) return "No goal is missed.";
  return `Goals that are missed:\n\n${missed.map(listItem).join("\n")}`;
}
