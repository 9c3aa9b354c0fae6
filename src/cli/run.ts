/**
 * What all programs do with their command lines.
 *
 * @module
 */
import type { CommandName } from "../start.ts";
import type { Command } from "./command_line.ts";
import { reportError, reportUncaught } from "./report.ts";

/**
 * Carries out a command; an error is reported on standard error.
 *
 * @param program What that line begins with.
 * @returns What the command returned; 1 for an error.
 */
export async function run<T>(program: string, command: () => T | Promise<T>): Promise<T | 1> {
  reportUncaught();
  try {
    return await command();
  } catch (error) {
    reportError(error, program);
    return 1;
  }
}

/** The program that carries out a command. */
export function programFor({ kind }: Command): CommandName {
  return kind === "vmm" || kind === "remote" ? kind : "help";
}
