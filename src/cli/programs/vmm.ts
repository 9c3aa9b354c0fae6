/**
 * The program that runs virtual machines.
 *
 * @module
 */
import type { CommandName } from "../../start.ts";
import { runVmm } from "../../vmm/run.ts";
import { markPhase } from "../../startup_trace.ts";
import { parseCommandLine } from "../command_line.ts";
import { openControllerFiles } from "../controller_files.ts";
import { programFor, run as runCommand } from "../run.ts";

/** Carries out a command line that is for a virtual machine; names the program for any other. */
export function run(argv: readonly string[]): Promise<number | CommandName> {
  return runCommand("splitvm", async () => {
    const command = parseCommandLine(argv);
    markPhase("command line");
    if (command.kind !== "vmm") return programFor(command);
    return await runVmm(command.config, { arguments: argv, openFiles: openControllerFiles });
  });
}
