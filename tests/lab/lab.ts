/**
 * The lab: a machine with hardware virtualization, emulated by QEMU, in which an unmodified Linux can be splitvm's guest wherever
 * the tests run.
 *
 * QEMU's TCG emulates AMD's SVM. Debian's kernel inside it loads kvm-amd, sees this host's files through 9p, and runs splitvm from
 * them. Nothing is installed, and what is written inside is gone afterwards, except below `/lab`, which is a folder on this host. `/scratch` is in RAM, and empty for each
 * command.
 *
 * @module
 */
import { fromFileUrl, join } from "@std/path";
import { exists } from "./files.ts";
import { CACHE, type LabParts } from "./parts.ts";
import { type LabProcess, runLabShell, startLab } from "./qemu.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));
/** The folder that holds one folder for each run; the lab has it as `/runs`. */
const RUNS = join(CACHE, "runs");

/** How a command is run in the lab. */
export interface LabCommand {
  /** Names a folder in `dist/lab/runs` with what the run leaves; inside, it is `/lab`. */
  readonly name: string;
  /** Lines for a POSIX shell. The working directory is the repository. */
  readonly script: string;
  /** After so many seconds the command and all that it started is killed; its status is 137 then. */
  readonly timeout: number;
}

/** What the lab is made of. */
export interface LabOptions {
  /** Names the log of the lab's kernel, `dist/lab/NAME.log`. */
  readonly name: string;
  /** @default {2} */
  readonly cpus?: number;
  /** RAM of the lab in MiB. @default {3072} */
  readonly memory?: number;
  /**
   * Whether the lab's kernel takes the time from the time-stamp counter: much faster, but guests with several vCPUs then stop more often.
   * @default {false}
   */
  readonly trustsTsc?: boolean;
}

/** The lab itself has failed, not what ran in it. */
export class LabFailure extends Error {}

/** Seconds in which the lab boots, on a very busy machine. */
const BOOT_PATIENCE = 180;
/** The lab says every ten seconds that it is alive. After so many seconds without a word it is not. */
const SILENCE = 90;

/**
 * A lab that runs one command after another. It boots when the first one comes, and anew after one with which it has died.
 */
export class Lab {
  readonly parts: LabParts;
  readonly #options: LabOptions;
  #machine: LabProcess | undefined;

  constructor(parts: LabParts, options: LabOptions) {
    this.parts = parts;
    this.#options = options;
  }

  /** The file with what the lab's kernel says. */
  get log(): string {
    return join(CACHE, `${this.#options.name}.log`);
  }

  /**
   * Runs a command. What it prints goes to `lab.log` in its folder.
   *
   * @returns the command's exit status.
   * @throws {LabFailure} when the lab itself ended or fell silent, with the last lines of its kernel. It is off then.
   */
  async run({ name, script, timeout }: LabCommand): Promise<number> {
    await Deno.writeTextFile(join(RUNS, name, "command"), `cd '${ROOT}'\n${ENVIRONMENT}\n${script}`);
    try {
      this.#machine ??= await this.#boot();
      await this.#machine.send(`${name} ${timeout}\n`);
      return await answer(this.#machine);
    } catch (cause) {
      await this.stop();
      const log = await this.#keepLog(name);
      const lines = `its kernel's last lines, from ${log}:\n${await lastLines(log)}`;
      throw new LabFailure(`The lab failed in ${name}; ${lines}`, { cause });
    }
  }

  /** Switches the lab off. */
  async stop(): Promise<void> {
    await this.#machine?.kill();
    this.#machine = undefined;
  }

  async #boot(): Promise<LabProcess> {
    const machine = startLab(this.parts, { ...this.#options, log: this.log, runs: RUNS });
    try {
      await machine.expect(/^lab: (ready)\r?\n/m, BOOT_PATIENCE);
    } catch (error) {
      await machine.kill();
      throw error;
    }
    return machine;
  }

  /** The next boot writes its log anew. @returns where a copy is: with what the run has left. */
  async #keepLog(name: string): Promise<string> {
    if (!await exists(this.log)) return this.log;
    const kept = join(RUNS, name, "kernel.log");
    await Deno.copyFile(this.log, kept);
    return kept;
  }
}

async function lastLines(path: string): Promise<string> {
  const text = await exists(path) ? await Deno.readTextFile(path) : "";
  return text.trimEnd().split("\n").slice(-20).join("\n");
}

/** Waits for a command's end. @returns its exit status. @throws {Error} when the lab falls silent. */
async function answer(machine: LabProcess): Promise<number> {
  while (true) {
    const word = await machine.expect(/^lab: (alive|status \d+)\r?\n/m, SILENCE);
    if (word !== "alive") return Number(word.slice("status ".length));
  }
}

/** Opens a shell in a lab of its own, on this process's terminal. @returns the shell's exit status. */
export async function runShell(parts: LabParts): Promise<number> {
  const folder = await runFolder("shell");
  const script = [`cd '${ROOT}'`, ENVIRONMENT, ...terminalSettings(), "exec bash -i"];
  await Deno.writeTextFile(join(folder, "command"), `${script.join("\n")}\n`);
  await runLabShell(parts, { log: join(CACHE, "shell.log"), runs: RUNS });
  const status = join(folder, "status");
  if (!await exists(status)) throw new Error(`The lab ended without a result: see ${join(CACHE, "shell.log")}`);
  return Number(await Deno.readTextFile(status));
}

/** A serial line tells neither the kind nor the size of the terminal at its end. */
function terminalSettings(): string[] {
  const kind = `export TERM='${Deno.env.get("TERM") ?? "linux"}'`;
  if (!Deno.stdin.isTerminal()) return [kind];
  const { columns, rows } = Deno.consoleSize();
  return [kind, `stty rows ${rows} cols ${columns}`];
}

/** Keeps what an attempt at a run has left, for people to look at. @returns where. */
export async function keepFolder(name: string, attempt: number): Promise<string> {
  const kept = join(RUNS, `${name}.${attempt}`);
  await Deno.remove(kept, { recursive: true }).catch(() => {});
  await Deno.rename(join(RUNS, name), kept);
  return kept;
}

/** A new, empty folder for one run. */
export async function runFolder(name: string): Promise<string> {
  const folder = join(RUNS, name);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  return folder;
}

/** Settings that Deno needs inside: it finds its caches through HOME, and must not look for updates. */
const ENVIRONMENT = [
  `export HOME='${Deno.env.get("HOME") ?? "/root"}'`,
  "export DENO_NO_UPDATE_CHECK=1 DENO_DISABLE_NODE_SHIM=1 NO_COLOR=1",
].join("\n");
