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
import type { AccessFiles, Competitor, MachineCommands } from "./device_access_plan.ts";
import { BenchMachine } from "./machine.ts";
import { median } from "./statistics.ts";

/**
 * How many accesses of a kind are timed together, and how often: less than two seconds on the slowest machine. So few that in most rounds
 * nobody else wants a CPU meanwhile.
 */
const TIMED = { accesses: 50, rounds: 45 };

/** After this long a machine hangs; in milliseconds. */
const PATIENCE = 60_000;

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
  using machine = new BenchMachine(commands);
  const { output, errors } = machine.wait(PATIENCE);
  if (!/^bench: done\r?$/m.test(output)) throw new Error(errors.trim() || output.trim() || "the guest said nothing");
  return accessTimes(parseMeasurements(output), tscKhz);
}
