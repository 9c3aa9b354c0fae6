/**
 * The program that starts a virtual machine's device processes anew. It is no command for people: its command line is the word `spawner`, and
 * then that of the virtual machine.
 *
 * @module
 */
import { OptionError } from "../../options/option_error.ts";
import { SELF_ENVIRONMENT, selfCommand, selfFiles } from "../../vmm/self_command.ts";
import { runSpawner } from "../../vmm/spawner.ts";
import { parseCommandLine } from "../command_line.ts";
import { areWritten, openControllerFiles } from "../controller_files.ts";
import { run as runCommand } from "../run.ts";

/** Carries out such a command line. */
export function run([word, ...argv]: readonly string[]): Promise<number> {
  return runCommand("splitvm", () => {
    const command = parseCommandLine(argv);
    if (command.kind !== "vmm") throw new OptionError(word, "is for splitvm itself");
    const { readable, env } = selfFiles();
    const self = { command: selfCommand(), env: { ...SELF_ENVIRONMENT, ...env } };
    return runSpawner(command.config, { self, readable, openFiles: openControllerFiles, areWritten });
  });
}
