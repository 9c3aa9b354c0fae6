/**
 * The program that is a device process.
 *
 * @module
 */
import { runRemote } from "../../remote/run.ts";
import type { CommandName } from "../../start.ts";
import { markPhase } from "../../startup_trace.ts";
import { parseCommandLine } from "../command_line.ts";
import { programFor, run as runCommand } from "../run.ts";

/** Carries out a command line that is for a device process; names the program for any other. */
export function run(argv: readonly string[]): Promise<number | CommandName> {
  return runCommand("splitvm", async () => {
    const command = parseCommandLine(argv);
    markPhase("command line");
    return command.kind === "remote" ? await runRemote(command.config) : programFor(command);
  });
}
