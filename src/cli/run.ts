/**
 * What all programs do with their command lines.
 *
 * @module
 */
import { Interrupted } from "../interrupted.ts";
import type { CommandName } from "../start.ts";
import type { Command } from "./command_line.ts";
import { reportError, reportUncaught } from "./report.ts";

/**
 * Carries out a command; an error is reported on standard error.
 *
 * @param program What that line begins with.
 * @returns What the command returned; 1 for an error; 128 and its number for a signal that interrupted it.
 */
export async function run<T>(program: string, command: () => T | Promise<T>): Promise<T | number> {
  reportUncaught();
  try {
    return await command();
  } catch (error) {
    if (error instanceof Interrupted) return error.status;
    reportError(error, program);
    return 1;
  }
}

/** The program that carries out a command. */
export function programFor({ kind }: Command): CommandName {
  return kind === "vmm" || kind === "remote" ? kind : "help";
}
