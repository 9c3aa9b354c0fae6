/**
 * The benchmarks' command lines.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

/** What a command line may hold. */
export interface CommandLine<Default extends string, Flag extends string, Value extends string> {
  /** Options with a value, and what it is where they are not given. */
  readonly defaults: Readonly<Record<Default, string>>;
  /** Further options with a value. */
  readonly values?: readonly Value[];
  /** Options without one. */
  readonly flags: readonly Flag[];
}

/**
 * Takes a command line apart; `--help` prints the usage and ends the program.
 *
 * @throws {Error} with the usage, on what is no option.
 */
export function parseCommandLine<Default extends string, Flag extends string, Value extends string = never>(
  args: readonly string[],
  usage: string,
  { defaults, values = [], flags }: CommandLine<Default, Flag, Value>,
): Record<Default, string> & Partial<Record<Value, string>> & Record<Flag, boolean> {
  const given = parseArgs([...args], {
    string: [...Object.keys(defaults), ...values],
    boolean: [...flags, "help"],
    default: defaults,
    unknown(argument: string) {
      throw new Error(`unknown argument ${argument}\n\n${usage}`);
    },
  });
  if (given.help) {
    console.log(usage);
    Deno.exit(0);
  }
  return given;
}

/** The value of `--name`. @param whole Whether it has to be an integer. @throws {Error} when it is no positive number. */
export function positive(name: string, text: string, whole: boolean): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    throw new Error(`--${name} takes a positive ${whole ? "integer" : "number"}, not ${text}`);
  }
  return value;
}
