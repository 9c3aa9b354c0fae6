/**
 * Carries out a command line. What the command does not need is not loaded.
 *
 * @module
 */
import { print } from "../print.ts";
import { VERSION } from "../version.ts";
import { reportError, reportUncaught } from "./report.ts";

/** The first word of a command line that is about images rather than a machine. */
const IMG = "img";

async function dispatch(argv: readonly string[]): Promise<number> {
  if (argv[0] === IMG) return await (await import("../img/run.ts")).runImg(argv.slice(1));
  const { parseCommandLine } = await import("./command_line.ts");
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
    reportError(error, argv[0] === IMG ? `splitvm ${IMG}` : "splitvm");
    return 1;
  }
}
