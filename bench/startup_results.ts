/**
 * Start times, and what they come to.
 *
 * @module
 */
import type { StartTimes } from "./startup.ts";
import type { Scenario, Subject } from "./startup_plan.ts";
import { median, summarize, type Summary } from "./statistics.ts";

/** A line of the table: a competitor in a scenario. */
export interface StartLine {
  readonly scenario: string;
  readonly subject: string;
  /** Milliseconds; `undefined` where there is no guest. */
  readonly firstInstruction: Summary | undefined;
  readonly ready: Summary;
  /** Median, in milliseconds. */
  readonly cpu: number;
  /**
   * How many times as long as the reference it takes. `undefined` for the reference, and where that was not measured.
   */
  readonly ratio: number | undefined;
}

/** A line of the table of phases. Times are medians in milliseconds. */
export interface PhaseLine {
  readonly thread: string;
  readonly phase: string;
  /** When it was over, from the start of the VMM. */
  readonly at: number;
  /** How long after the thread's phase before. */
  readonly took: number;
}

/** What all starts of a subject come to. */
export function scenarioLines(scenario: Scenario, times: ReadonlyMap<Subject, readonly StartTimes[]>): StartLine[] {
  const measured = scenario.subjects.filter((subject) => times.get(subject)?.length);
  const readyOf = (subject: Subject) => summarize(times.get(subject)!.map(({ ready }) => ready));
  const reference = measured.find(({ isReference }) => isReference);
  return measured.map((subject) => {
    const all = times.get(subject)!;
    const first = all.map(({ firstInstruction }) => firstInstruction).filter((time) => time !== undefined);
    const ready = readyOf(subject);
    return {
      scenario: scenario.name,
      subject: subject.name,
      firstInstruction: first.length === 0 ? undefined : summarize(first),
      ready,
      cpu: median(all.map(({ cpu }) => cpu)),
      ratio: reference === undefined || subject === reference ? undefined : ready.median / readyOf(reference).median,
    };
  });
}

/** A phase in a trace, as `SPLITVM_DEBUG=startup` prints it. */
const TRACE_LINE = /^splitvm: startup: (.+): (-?\d+\.\d+) ms: (.+)$/;

/** The phases of several starts, by thread, each thread's in the order in which they came. Other lines are left out. */
export function phaseLines(traces: readonly string[]): PhaseLine[] {
  const threads = new Map<string, Map<string, { at: number; took: number }[]>>();
  for (const trace of traces) {
    const before = new Map<string, number>();
    for (const line of trace.split("\n")) {
      const [, thread, time, phase] = TRACE_LINE.exec(line) ?? [];
      if (thread === undefined) continue;
      const at = Number(time);
      const phases = threads.getOrInsertComputed(thread, () => new Map());
      phases.getOrInsertComputed(phase, () => []).push({ at, took: at - (before.get(thread) ?? 0) });
      before.set(thread, at);
    }
  }
  const lines = [...threads].map(([thread, phases]) =>
    [...phases].map(([phase, all]) => ({
      thread,
      phase,
      at: median(all.map(({ at }) => at)),
      took: median(all.map(({ took }) => took)),
    }))
  );
  return lines.toSorted(([a], [b]) => a.at - b.at).flat();
}
