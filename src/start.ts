/**
 * Starts the program that a process or thread is to run. There are several, so that each reads no code but its own: a
 * virtual machine starts in the time that its own part takes.
 *
 * @module
 */

import { markPhase } from "./startup_trace.ts";

/** A program that carries out command lines. */
export interface CommandProgram {
  /** @returns the exit status, or which program the command line is for. */
  run(argv: readonly string[]): Promise<number | CommandName>;
}

/** A program that a thread runs. */
export interface ThreadProgram {
  /** @param message What whoever started the thread posted to it first. */
  runWorker(message: unknown): void | Promise<void>;
}

/** All programs, each loaded when it is asked for. */
export interface Programs {
  /** `-machine q35`. */
  readonly vmm: () => Promise<CommandProgram>;
  /** `-machine remote`. */
  readonly remote: () => Promise<CommandProgram>;
  /** `splitvm img`. */
  readonly img: () => Promise<CommandProgram>;
  /** `splitvm jail`. */
  readonly jail: () => Promise<CommandProgram>;
  /** What starts a virtual machine's device processes anew. */
  readonly spawner: () => Promise<CommandProgram>;
  /** `-help` and the like. */
  readonly help: () => Promise<CommandProgram>;
  /** A thread of a virtual machine. */
  readonly machine: () => Promise<ThreadProgram>;
  /** A thread that waits for disks. */
  readonly io: () => Promise<ThreadProgram>;
}

/** A program's name. */
export type ProgramName = keyof Programs;

/** The name of a program that carries out command lines. */
export type CommandName = "vmm" | "remote" | "img" | "jail" | "spawner" | "help";

/** The first word of a spawner's command line; that of its virtual machine follows. */
export const SPAWNER = "spawner";

/** The thread by its name, which is `io` or says what it is for the machine. */
function threadProgram(): "machine" | "io" {
  return (globalThis as { name?: string }).name === "io" ? "io" : "machine";
}

/**
 * The program that a command line is for, as far as can be seen without the tables of options. A program that was taken
 * wrongly names the right one.
 */
export function likelyProgram(argv: readonly string[]): CommandName {
  if (argv[0] === "img" || argv[0] === "jail" || argv[0] === SPAWNER) return argv[0];
  const machine = argv.findIndex((word) => /^--?(machine|M)$/.test(word));
  return machine >= 0 && /^(type=)?(x-)?remote\b/.test(argv[machine + 1] ?? "") ? "remote" : "vmm";
}

/** @throws what ends the thread's program, or is in the way of its start. */
async function runThread(programs: Programs): Promise<void> {
  // Before anything is waited for: a message that finds nobody to listen is lost.
  const message = new Promise<Event>((resolve) => addEventListener("message", resolve, { once: true }));
  const { runWorker } = await programs[threadProgram()]();
  markPhase("program");
  await runWorker((await message as MessageEvent).data);
}

/**
 * Tells whoever started this thread why it has ended.
 *
 * @throws the reason, which Deno then prints, where nobody listens: a device process's loop is not JavaScript's.
 */
function tellEnd(reason: unknown): void {
  if (threadProgram() === "io") throw reason;
  (globalThis as unknown as Worker).postMessage(reason);
}

async function runCommand(programs: Programs, argv: readonly string[]): Promise<number> {
  const program = await programs[likelyProgram(argv)]();
  markPhase("program");
  const outcome = await program.run(argv);
  if (typeof outcome === "number") return outcome;
  const status = await (await programs[outcome]()).run(argv);
  if (typeof status === "number") return status;
  throw new Error(`the program ${outcome} takes the command line for one of ${status}`);
}

/**
 * Runs what this process, or this thread of it, was started for. A process ends with it; a thread goes on by itself.
 */
export async function start(programs: Programs): Promise<void> {
  markPhase("runtime");
  if ("WorkerGlobalScope" in globalThis) runThread(programs).catch(tellEnd);
  else Deno.exit(await runCommand(programs, Deno.args));
}
