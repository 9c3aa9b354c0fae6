/**
 * What the tests of the command line share.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { OptionError } from "../../src/options/option_error.ts";
import type { RemoteConfig } from "../../src/remote/config.ts";
import type { VmmConfig } from "../../src/vmm/config.ts";

/** Splits at blanks; the arguments of the tests have none. */
export function words(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== "");
}

/** The configuration that a VMM's command line asks for. */
export function vmm(line: string): VmmConfig {
  const command = parseCommandLine(words(line));
  if (command.kind !== "vmm") throw new Error(`A VMM was expected, not ${command.kind}`);
  return command.config;
}

/** The configuration that a device process's command line asks for. */
export function remote(line: string): RemoteConfig {
  const command = parseCommandLine(words(`-machine remote ${line}`));
  if (command.kind !== "remote") throw new Error(`A device process was expected, not ${command.kind}`);
  return command.config;
}

/** Checks the one line that a command line is refused with. */
export function refuses(line: string, message: string): void {
  assertEquals(assertThrows(() => parseCommandLine(words(line)), OptionError).message, message);
}
