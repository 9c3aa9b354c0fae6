/**
 * Runs the benchmark guest on a machine once.
 *
 * @module
 */
import {
  ACCESS_NAMES,
  type AccessName,
  buildRegistersKernel,
  type Measurement,
  parseMeasurements,
} from "../guests/registers/mod.ts";
import { pollFd, Ready } from "../src/ffi/event.ts";
import { closeFd, createPipe } from "../src/ffi/file.ts";
import { type ChildProcess, Signal, spawn } from "../src/ffi/process.ts";
import { createSocketPair } from "../src/ffi/socket.ts";
import { childEnvironment, readAll } from "../tests/support/child.ts";
import { type AccessFiles, type Competitor, LINK_FD, type MachineCommands } from "./device_access_plan.ts";
import { median } from "./statistics.ts";

/** How many accesses of a kind are timed together, and how often: less than two seconds on the slowest machine. */
const TIMED = { accesses: 100, rounds: 9 };

/** After this long a machine hangs; in milliseconds. */
const PATIENCE = 60_000;

/**
 * How long QEMU's device process is given before it has a VMM, in milliseconds: it serves its link before it has reset its machine, which
 * takes away BARs that were set up in between, and of the end of that there is no sign.
 */
const QEMU_RESET = 300;

/** What an access of each kind takes, in microseconds. */
export type AccessTimes = Readonly<Record<AccessName, number>>;

/** What the guest measured. @param tscKhz How fast its time-stamp counter is. @throws {Error} when a kind is missing. */
export function accessTimes(measurements: readonly Measurement[], tscKhz: number): AccessTimes {
  const one = (name: AccessName) => {
    const cycles = measurements.filter((line) => line.name === name).map(({ cycles, accesses }) => cycles / accesses);
    if (cycles.length === 0) throw new Error(`the guest measured no ${name}`);
    return 1000 * median(cycles) / tscKhz;
  };
  const loop = one("nothing");
  const times = ACCESS_NAMES.map((name) => [name, name === "nothing" ? loop : one(name) - loop]);
  return Object.fromEntries(times) as Record<AccessName, number>;
}

/** Writes what the machines need into `folder`. @returns the files for a guest that warms up as a competitor needs it. */
export function writeAccessFiles(folder: string): (competitor: Competitor) => AccessFiles {
  const disk = `${folder}/device_access.raw`;
  Deno.writeFileSync(disk, new Uint8Array(1 << 20));
  return ({ warmUp }) => {
    const kernel = `${folder}/registers-${warmUp}.elf`;
    Deno.writeFileSync(kernel, buildRegistersKernel({ warmUp, ...TIMED }));
    return { kernel, disk };
  };
}

/** Starts what a machine consists of, lets its guest measure, and waits for its end. */
export function measureAccesses(commands: MachineCommands, tscKhz: number): AccessTimes {
  const [output, errors] = [createPipe(), createPipe()];
  const processes: ChildProcess[] = [];
  try {
    try {
      start(commands, output[1], errors[1], processes);
    } finally {
      [output[1], errors[1]].forEach(closeFd);
    }
    // What a guest prints fits into the pipe.
    const ended = processes.every(({ pidfd }) => pollFd(pidfd, Ready.IN, PATIENCE) !== 0);
    processes.forEach((process) => process.kill(Signal.KILL));
    const [text, complaints] = [output[0], errors[0]].map(readAll);
    if (!ended) throw new Error(`it does not end: ${complaints.trim()}`);
    if (!/^bench: done\r?$/m.test(text)) throw new Error(complaints.trim() || text.trim() || "the guest said nothing");
    return accessTimes(parseMeasurements(text), tscKhz);
  } finally {
    for (const process of processes) {
      process.kill(Signal.KILL);
      process.wait();
      process.close();
    }
    [output[0], errors[0]].forEach(closeFd);
  }
}

/** Starts the VMM, and the device process before it where that is a process of its own; adds them to `processes`. */
function start({ vmm, device }: MachineCommands, output: number, errors: number, processes: ChildProcess[]): void {
  const env = childEnvironment();
  const outputs = [[0, null], [1, output], [2, errors]] as const;
  if (device === undefined) {
    processes.push(spawn({ command: vmm, env, descriptors: new Map(outputs) }));
    return;
  }
  const [near, far] = createSocketPair();
  try {
    const remote = spawn({ command: device, env, descriptors: new Map([...outputs, [LINK_FD, far]]) });
    processes.push(remote);
    pollFd(remote.pidfd, Ready.IN, QEMU_RESET);
    processes.push(spawn({ command: vmm, env, descriptors: new Map([...outputs, [LINK_FD, near]]) }));
  } finally {
    [near, far].forEach(closeFd);
  }
}
