/**
 * Carries out a command line. What the command does not need is not loaded.
 *
 * @module
 */
import { parseCommandLine } from "./command_line.ts";
import { reportError, reportUncaught } from "./report.ts";

/** Released as this. */
export const VERSION = "0.1.0";

/** Writes all of a text to standard output or standard error. */
function print(text: string, stream: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
}

async function dispatch(argv: readonly string[]): Promise<number> {
  const command = parseCommandLine(argv);
  switch (command.kind) {
    case "vmm":
      return (await import("../vmm/run.ts")).runVmm(command.config);
    case "remote":
      return (await import("../remote/run.ts")).runRemote(command.config);
    case "help":
      print((await import("./help.ts")).helpText(command.topic));
      return 0;
    case "version":
      print(`splitvm ${VERSION}\n`);
      return 0;
    case "usage":
      print((await import("./help.ts")).USAGE, Deno.stderr);
      return 1;
  }
}

/**
 * Carries out a command line; an error is reported on standard error.
 *
 * @returns The exit status: 1 for an error.
 */
export async function run(argv: readonly string[]): Promise<number> {
  reportUncaught();
  try {
    return await dispatch(argv);
  } catch (error) {
    reportError(error);
    return 1;
  }
}
