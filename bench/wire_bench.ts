/**
 * The plain wire without a guest: PCI_CFGREAD and its RET, of splitvm's device process and of QEMU's.
 *
 * @module
 */
import { DeviceProcess } from "../tests/support/lsi_driver/device_process.ts";
import type { Build, Half } from "../tests/support/machines.ts";
import { atMost } from "./goals.ts";
import { type Contest, ContestResults, type Task } from "./machine_results.ts";
import { pinSelf, type Placement } from "./placement.ts";

const OURS = "splitvm";
const THEIRS = "QEMU x-remote";

/** Bytes of the disk, with which nothing is done. */
const DISK_SIZE = 1 << 20;

/** How many round trips are made between two looks at the clock. */
const ROUND_TRIPS = 64;

/** After so many seconds code is compiled. */
const WARM_UP = 0.5;

interface WireTask extends Task {
  readonly placement: Placement;
}

function wireContest(placements: readonly Placement[]): Contest<WireTask> {
  const tasks = placements.map((placement) => ({
    placement,
    title: `config read, CPUs: ${placement.name}`,
    unit: "µs",
    goals: { [THEIRS]: atMost(1) },
  }));
  return { tasks, machines: [OURS, THEIRS], reference: THEIRS };
}

/** What a round trip takes, in microseconds. */
function roundTrip({ board }: DeviceProcess, seconds: number): number {
  const start = performance.now();
  const end = start + 1000 * seconds;
  let count = 0;
  for (; performance.now() < end; count += ROUND_TRIPS) {
    for (let i = 0; i < ROUND_TRIPS; i++) board.readConfig(0, 4);
  }
  return 1000 * (performance.now() - start) / count;
}

function measure(half: Half, disk: string, { placement }: WireTask, seconds: number): number {
  pinSelf(placement);
  const process = new DeviceProcess({ half, drive: `file=${disk},format=raw`, cpus: placement.device });
  try {
    process.start();
    roundTrip(process, WARM_UP);
    return roundTrip(process, seconds);
  } finally {
    process.stop();
  }
}

/** How to measure. */
export interface WireOptions {
  readonly build: Build;
  readonly placements: readonly Placement[];
  readonly runs: number;
  readonly seconds: number;
  /** For files that are needed meanwhile. */
  readonly folder: string;
}

/** Measures in turns. */
export function runWire({ build, placements, runs, seconds, folder }: WireOptions): ContestResults<WireTask> {
  const contest = wireContest(placements);
  const results = new ContestResults(contest);
  const disk = `${folder}/wire.raw`;
  Deno.writeFileSync(disk, new Uint8Array(DISK_SIZE));
  const halves: readonly [string, Half][] = [[OURS, build], [THEIRS, "qemu"]];
  for (let turn = 0; turn < runs; turn++) {
    for (const task of contest.tasks) {
      for (const [name, half] of turn % 2 === 0 ? halves : halves.toReversed()) {
        results.add(task, name, measure(half, disk, task, seconds));
      }
    }
  }
  return results;
}
