/**
 * What Linux does with its disk in the lab, and on which machines.
 *
 * @module
 */
import type { Halves } from "../tests/lab/halves.ts";
import { atLeast } from "./goals.ts";
import type { Contest, Task } from "./machine_results.ts";

/** Something that ioping(1) does. */
export interface LabTask extends Task {
  readonly name: string;
  /** Its options, but for how long. */
  readonly options: string;
  /**
   * How long to do the same before it is measured, in seconds: V8 compiles what it executes, which on emulated processors takes its time. The
   * first task takes longest.
   */
  readonly warmUp: number;
  /** The figure, out of requests and bytes a second. */
  figure(requests: number, bytes: number): number;
}

/** A machine of the contest. */
export interface LabMachine {
  readonly name: string;
  readonly halves: Halves;
}

/** All machines, in the order of the table. */
export const LAB_MACHINES: readonly LabMachine[] = [
  { name: "splitvm", halves: "splitvm" },
  { name: "splitvm, accel=off", halves: "splitvm, plain wire" },
  { name: "QEMU in process", halves: "QEMU" },
  { name: "QEMU multi-process", halves: "QEMU, disk in QEMU" },
];

const GOALS = { "QEMU in process": atLeast(1), "QEMU multi-process": atLeast(2) };

const MIB = 2 ** 20;

/** Size of the disk, in bytes. It is copied to the lab for each guest. */
export const DISK_SIZE = 32 * MIB;

/** Large enough for the device's speed to count, small enough for a command that the controller takes as one. */
const SEQUENTIAL = "-L -s 256k";

const LAB_TASKS: readonly LabTask[] = [
  {
    name: "random-read",
    title: "4 KiB random read, depth 1",
    unit: "IOPS",
    goals: GOALS,
    options: "-s 4k",
    warmUp: 12,
    figure: (requests) => requests,
  },
  {
    name: "sequential-read",
    title: "sequential read",
    unit: "MiB/s",
    goals: GOALS,
    options: SEQUENTIAL,
    warmUp: 4,
    figure: (_, bytes) => bytes / MIB,
  },
  {
    name: "sequential-write",
    title: "sequential write",
    unit: "MiB/s",
    goals: GOALS,
    // Three times: to a disk, and whatever it holds.
    options: `-W -W -W ${SEQUENTIAL}`,
    warmUp: 4,
    figure: (_, bytes) => bytes / MIB,
  },
];

/** The table. */
export const LAB_CONTEST: Contest<LabTask> = {
  tasks: LAB_TASKS,
  machines: LAB_MACHINES.map(({ name }) => name),
  reference: "QEMU in process",
};

/** The guest's script: around the page cache, one request after the other. @param seconds For each task. */
export function labScript(seconds: number): string {
  return LAB_TASKS.map(({ name, options, warmUp }) => {
    const ioping = (time: number) => `ioping -B -D -i 0 -w ${time} -S ${DISK_SIZE} ${options} /dev/sda`;
    return `${ioping(warmUp)} > /dev/null\necho "bench: ${name} $(${ioping(seconds)})"`;
  }).join("\n");
}

/** Seconds that {@linkcode labScript} takes, if each request ends soon. */
export function labTime(seconds: number): number {
  return LAB_TASKS.reduce((sum, { warmUp }) => sum + warmUp + seconds, 0);
}

/**
 * The figures in what the guest printed. ioping's numbers are: requests, nanoseconds, requests a second, bytes a second, and times that are
 * of no interest here.
 *
 * @throws {Error} when one is missing, or nothing was done in that time.
 */
export function readLabFigures(console: string): Map<LabTask, number> {
  return new Map(LAB_TASKS.map((task) => {
    const line = new RegExp(`^bench: ${task.name} \\d+ \\d+ (\\d+) (\\d+)`, "m").exec(console);
    if (line === null) throw new Error(`the guest has no figure for: ${task.title}`);
    const figure = task.figure(Number(line[1]), Number(line[2]));
    if (figure === 0) throw new Error(`the guest came to no end with: ${task.title}`);
    return [task, figure];
  }));
}
