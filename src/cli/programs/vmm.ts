/**
 * The program that runs virtual machines.
 *
 * @module
 */
import { openDriveFiles } from "../../block/image_files.ts";
import type { ControllerConfig } from "../../options/storage.ts";
import type { CommandName } from "../../start.ts";
import { runVmm } from "../../vmm/run.ts";
import { markPhase } from "../../startup_trace.ts";
import { parseCommandLine } from "../command_line.ts";
import { programFor, run as runCommand } from "../run.ts";

/** Device processes in jails can open nothing. */
function filesOf({ disks }: ControllerConfig) {
  return disks.flatMap(({ drive }) => openDriveFiles(drive));
}

/** Carries out a command line that is for a virtual machine; names the program for any other. */
export function run(argv: readonly string[]): Promise<number | CommandName> {
  return runCommand("splitvm", async () => {
    const command = parseCommandLine(argv);
    markPhase("command line");
    return command.kind === "vmm" ? await runVmm(command.config, filesOf) : programFor(command);
  });
}
