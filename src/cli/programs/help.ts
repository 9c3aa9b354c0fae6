/**
 * The program that answers questions about splitvm.
 *
 * @module
 */
import { print } from "../../print.ts";
import type { CommandName } from "../../start.ts";
import { VERSION } from "../../version.ts";
import { parseCommandLine } from "../command_line.ts";
import { helpText, USAGE } from "../help.ts";
import { programFor, run as runCommand } from "../run.ts";

function answer(argv: readonly string[]): number | CommandName {
  const command = parseCommandLine(argv);
  switch (command.kind) {
    case "help":
      print(helpText(command.topic));
      return 0;
    case "version":
      print(`splitvm ${VERSION}\n`);
      return 0;
    case "usage":
      print(USAGE, Deno.stderr);
      return 1;
    default:
      return programFor(command);
  }
}

/** Carries out a command line that asks for help or the version; names the program for any other. */
export function run(argv: readonly string[]): Promise<number | CommandName> {
  return runCommand("splitvm", () => answer(argv));
}
