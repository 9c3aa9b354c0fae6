/**
 * Programs that build what a test boots from.
 *
 * @module
 */
import { findProgram } from "./requirements.ts";

/**
 * Runs a program to its end.
 *
 * @returns what it printed.
 * @throws {Error} with all that it wrote when it fails.
 */
export function runTool(name: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(findProgram(name) ?? name, { args }).outputSync();
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${[name, ...args].join(" ")} failed:\n${output}${errors}`);
  return output;
}
