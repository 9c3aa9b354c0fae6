/**
 * Which CPUs driver and device process run on. Left to the scheduler, a round trip takes ten times as long when it happens to put them apart
 * on a machine whose idle CPUs are slow to wake, and no two runs compare.
 *
 * @module
 */
import { readProc } from "../tests/support/process_tree.ts";
import { runTool } from "../tests/support/tool.ts";

/** CPUs as taskset(1) takes them. */
export interface Placement {
  /** How many CPUs are in play: `1`, or `2` where the device process has others than the driver. */
  readonly name: string;
  readonly driver: string;
  readonly device: string;
}

/** The numbers in a list as the kernel writes it: `0-2,5`. */
export function parseCpuList(text: string): number[] {
  return text.trim().split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The placements that are possible on these CPUs. */
export function placementsOn(cpus: readonly number[]): Placement[] {
  const [first, ...others] = cpus;
  const together = { name: "1", driver: `${first}`, device: `${first}` };
  return others.length === 0 ? [together] : [together, { name: "2", driver: `${first}`, device: others.join(",") }];
}

let allowed: readonly number[] | undefined;

/** The placements that are possible on this machine. */
export function allPlacements(): Placement[] {
  return placementsOn(allowedCpus());
}

function allowedCpus(): readonly number[] {
  // Read once: this process is about to confine itself.
  return allowed ??= parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readProc("/proc/self/status"))![1]);
}

let pinned = "";

/** Has this process run where the driver is to run. */
export function pinSelf({ driver }: Placement): void {
  allowedCpus();
  if (pinned !== driver) runTool("taskset", "--all-tasks", "--cpu-list", "--pid", driver, `${Deno.pid}`);
  pinned = driver;
}

/** Has this process run wherever it may again, and so what it starts. */
export function unpinSelf(): void {
  if (pinned === "") return;
  const everywhere = allowedCpus().join(",");
  runTool("taskset", "--all-tasks", "--cpu-list", "--pid", everywhere, `${Deno.pid}`);
  pinned = "";
}
