/**
 * What a machine costs its host while its guest sleeps.
 *
 * @module
 */
import { buildPvhGuest } from "../guests/pvh_guest.ts";
import { childrenOf, readProc, threadsOf } from "../tests/support/process_tree.ts";
import { type AccessFiles, type Competitor, COMPETITORS } from "./device_access_plan.ts";
import source from "./idle.asm" with { type: "text" };
import { BenchMachine } from "./machine.ts";
import { atMost, missedGoalsText } from "./goals.ts";
import { spread, table } from "./report.ts";
import type { Summary } from "./statistics.ts";

/** How long CPU time is counted, in milliseconds. */
const PERIOD = 10_000;

/** A machine is given as long to come to rest once its guest sleeps, in milliseconds. */
const SETTLING = 2_000;

/** After this long a guest does not start, in milliseconds. */
const PATIENCE = 60_000;

/** Who is measured: ours, and the ones that it is compared with. */
export const IDLE_MACHINES: readonly Competitor[] = COMPETITORS.filter(({ name }) => !name.includes("accel"));

/** An idle machine uses less than this, in percent of a CPU. */
const GOAL = atMost(1);

/** Writes what the machines need into `folder`. */
export function writeIdleFiles(folder: string): AccessFiles {
  const [kernel, disk] = [`${folder}/idle.elf`, `${folder}/idle.raw`];
  Deno.writeFileSync(kernel, buildPvhGuest(source));
  Deno.writeFileSync(disk, new Uint8Array(1 << 20));
  return { kernel, disk };
}

/** The CPU time of all of a machine's processes while its guest sleeps, in percent of one CPU. */
export function measureIdle(competitor: Competitor, files: AccessFiles): number {
  using machine = new BenchMachine(competitor.commands(files));
  machine.waitForOutput(PATIENCE);
  machine.pause(SETTLING);
  const pids = machine.pids.flatMap((pid) => [pid, ...childrenOf(pid)]);
  const before = cpuTimes(pids);
  machine.pause(PERIOD);
  // A thread that has ended meanwhile takes its time with it.
  const used = [...cpuTimes(pids)].reduce((sum, [thread, time]) => sum + time - (before.get(thread) ?? 0), 0);
  return used / 1e6 / PERIOD * 100;
}

/** Nanoseconds on a CPU by thread (the kernel's Documentation/scheduler/sched-stats.rst). */
function cpuTimes(pids: readonly number[]): Map<number, number> {
  const threads = pids.flatMap((pid) => threadsOf(pid).map((thread) => [pid, thread]));
  return new Map(
    threads.map(([pid, thread]) => [thread, Number(readProc(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0])]),
  );
}

/** A table, and what is to be said below it. */
export function describeIdle(figures: ReadonlyMap<string, Summary>): string {
  const rows = [...figures].map(([name, summary]) => [name, spread(summary)]);
  const ours = figures.get(IDLE_MACHINES[0].name)?.median;
  const judged = [{ name: "CPU time of an idle machine, in percent", figure: ours, goal: GOAL }];
  return [table([["Machine", "CPU time, %"], ...rows], (column) => column === 0), missedGoalsText(judged)].join("\n\n");
}
