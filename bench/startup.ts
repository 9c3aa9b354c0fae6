/**
 * Starts something and says how long it took.
 *
 * @module
 */
import { pollFd, Ready } from "../src/ffi/event.ts";
import { closeFd, createPipe, readFd } from "../src/ffi/file.ts";
import { type ChildProcess, Signal, spawn } from "../src/ffi/process.ts";
import { childEnvironment, readAll } from "../tests/support/child.ts";
import { DeviceProcess } from "../tests/support/lsi_driver/device_process.ts";
import type { Half } from "../tests/support/machines.ts";
import { childrenOf, readProc, threadsOf } from "../tests/support/process_tree.ts";
import { DEBUG_FD, type Scenario, type StartFiles, type Subject } from "./startup_plan.ts";

/** What a start took, in milliseconds from just before the process was made. */
export interface StartTimes {
  /** Until the guest's first instructions had written to the debug console; `undefined` where there is no guest. */
  readonly firstInstruction: number | undefined;
  /** Until the first byte on the serial port, or the first reply. */
  readonly ready: number;
  /** CPU time of the process and its children until then. */
  readonly cpu: number;
}

/** After this long, something hangs; in milliseconds. */
const PATIENCE = 60_000;

/** How long to wait for what a start tells of its phases when the guest has been seen to run, in milliseconds. */
const TRACE_PATIENCE = 500;

/**
 * CPU time of the threads that a process and its children have, in milliseconds (sched-stats.rst: the first field is in
 * nanoseconds).
 */
function cpuTime(pid: number): number {
  const own = threadsOf(pid).map((thread) => {
    const [running] = readProc(`/proc/${pid}/task/${thread}/schedstat`).split(" ");
    return Number(running) / 1e6;
  });
  return [...own, ...childrenOf(pid).map(cpuTime)].reduce((sum, time) => sum + time, 0);
}

/** A started VMM, and what of it comes in here. */
class StartedMachine {
  readonly #process: ChildProcess;
  readonly #debug: number;
  readonly #console: number;
  readonly #errors: number;
  readonly #startedAt: number;

  constructor(command: readonly string[], environment: Readonly<Record<string, string>>) {
    const [debug, console, errors] = [createPipe(), createPipe(), createPipe()];
    this.#startedAt = performance.now();
    try {
      this.#process = spawn({
        command: [...command],
        env: { ...childEnvironment(), ...environment },
        descriptors: new Map([[0, null], [1, console[1]], [2, errors[1]], [DEBUG_FD, debug[1]]]),
      });
    } finally {
      for (const [, end] of [debug, console, errors]) closeFd(end);
    }
    [this.#debug, this.#console, this.#errors] = [debug[0], console[0], errors[0]];
  }

  /** @returns the time since the start when something could be read. */
  #await(fd: number, what: string): number {
    const there = pollFd(fd, Ready.IN, PATIENCE) !== 0;
    const time = performance.now() - this.#startedAt;
    if (!there) throw new Error(`no ${what} came`);
    if (readFd(fd, new Uint8Array(1)) === 0) {
      throw new Error(`it ended without ${what}: ${readAll(this.#errors).trim()}`);
    }
    return time;
  }

  awaitGuest(): StartTimes {
    const firstInstruction = this.#await(this.#debug, "byte from the guest's first instructions");
    const ready = this.#await(this.#console, "byte on the serial port");
    return { firstInstruction, ready, cpu: cpuTime(this.#process.pid) };
  }

  /** What it has written to standard error when nothing more comes. */
  collectTrace(): string {
    const piece = new Uint8Array(4096);
    let text = "";
    while (pollFd(this.#errors, Ready.IN, TRACE_PATIENCE) !== 0) {
      const length = readFd(this.#errors, piece);
      if (length === 0) break;
      text += new TextDecoder().decode(piece.subarray(0, length));
    }
    return text;
  }

  dispose(): void {
    this.#process.kill(Signal.KILL);
    this.#process.wait();
    this.#process.close();
    for (const fd of [this.#debug, this.#console, this.#errors]) closeFd(fd);
  }
}

function startGuest(command: readonly string[]): StartTimes {
  const machine = new StartedMachine(command, {});
  try {
    return machine.awaitGuest();
  } finally {
    machine.dispose();
  }
}

function startDeviceProcess(half: Half, disk: string): StartTimes {
  const startedAt = performance.now();
  const process = new DeviceProcess({ half, drive: `file=${disk},format=raw` });
  try {
    process.board.readConfig(0, 4);
    return { firstInstruction: undefined, ready: performance.now() - startedAt, cpu: cpuTime(process.pid) };
  } finally {
    process.stop();
  }
}

/** Starts what a scenario wants of a subject once. */
export function measureStart({ goal }: Scenario, { command, half }: Subject, files: StartFiles): StartTimes {
  return goal === "guest" ? startGuest(command!(files)) : startDeviceProcess(half!, files.disk);
}

/**
 * Starts splitvm once with a trace of its start. @returns the trace's lines, in milliseconds since the process was
 * made.
 */
export function traceStart(command: readonly string[]): string {
  const now = performance.timeOrigin + performance.now();
  const machine = new StartedMachine(command, { SPLITVM_DEBUG: `startup:${now}` });
  try {
    machine.awaitGuest();
    return machine.collectTrace();
  } finally {
    machine.dispose();
  }
}
