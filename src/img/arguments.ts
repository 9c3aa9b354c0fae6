/**
 * Takes the command line of a sub-command apart, as getopt_long(3) does it for qemu-img.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { splitOption } from "../options/keyval.ts";
import { nearest, OptionError, quote, suggestion } from "../options/option_error.ts";
import {
  type Properties,
  type Property,
  propertyNames,
  type PropertySpec,
  type PropertyValues,
} from "../options/properties.ts";
import { type CommandName, COMMANDS, type CommandSpec, flag, type Format, type SizeChange } from "./command_table.ts";

const SPECS: Readonly<Record<CommandName, CommandSpec>> = COMMANDS;

/** What a command line asks for. */
export type ImgRequest =
  | { readonly kind: "help"; readonly command: CommandName | undefined }
  /** Help on the options of a format (`-o help`). */
  | { readonly kind: "format help"; readonly format: Format }
  | { readonly kind: "command"; readonly name: CommandName; readonly args: ImgArguments<CommandName> };

/** The arguments of a sub-command. */
export interface ImgArguments<N extends CommandName> {
  readonly options: PropertyValues<typeof COMMANDS[N]["options"]>;
  readonly positionals: PositionalValues[N];
}

/** What stands by itself, in order. */
export interface PositionalValues {
  readonly create: readonly [file: string, size: number | undefined];
  readonly info: readonly [file: string];
  readonly check: readonly [file: string];
  readonly convert: readonly [source: string, target: string];
  readonly resize: readonly [file: string, size: SizeChange];
}

/** An option with its hyphens. */
export function spelled(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

function isFlag(property: Property): boolean {
  return property.presence !== "refused" && property.type === flag;
}

/**
 * Splits a value off the letter that it follows directly: `-pfqcow2` is `-p --f=qcow2`. The parser would take it for more letters.
 */
function detachValues(argv: readonly string[], options: Properties): string[] {
  const end = argv.indexOf("--");
  return argv.flatMap((word, at) => {
    if (!/^-[^-]./s.test(word) || (end >= 0 && at > end)) return [word];
    const letters = word.slice(1);
    const last = [...letters].findIndex((letter) => !Object.hasOwn(options, letter) || !isFlag(options[letter]));
    if (last < 0 || last === letters.length - 1 || !Object.hasOwn(options, letters[last])) return [word];
    const flags = last === 0 ? [] : [`-${letters.slice(0, last)}`];
    return [...flags, `--${letters[last]}=${letters.slice(last + 1)}`];
  });
}

/** The words of a command line: each option's texts, and what stands by itself. */
interface Words {
  readonly options: Readonly<Record<string, readonly string[]>>;
  readonly flags: readonly string[];
  readonly positionals: readonly string[];
}

/** Whether an option is called as the parser calls what stands by itself, `_`, or has that among its letters. */
function isNamedLikePositionals(word: string): boolean {
  return /^--_(=|$)|^-[^-=]*_/.test(word);
}

function splitWords(where: string, argv: readonly string[], { options, positionals }: CommandSpec): Words {
  const names = Object.keys(options);
  const flags = names.filter((name) => isFlag(options[name]));
  const valued = names.filter((name) => !flags.includes(name));
  const unknown = (word: string, key?: string) => {
    if (key === undefined) return true;
    const candidate = nearest(key, propertyNames(options).filter((name) => name.length > 1));
    const hint = candidate === undefined
      ? `'splitvm img ${where} --help' lists them`
      : `did you mean '--${candidate}'?`;
    throw new OptionError(where, `unknown option ${quote(word)}; ${hint}`);
  };
  // getopt would take a size such as -1G for options; qemu-img, too, takes the last word of a resize first.
  const signed = positionals.at(-1)?.name.startsWith("[") === true && /^-[0-9.]/.test(argv.at(-1) ?? "");
  const rest = signed ? argv.slice(0, -1) : argv;
  const words = detachValues(rest, options);
  const misnamed = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined).find(isNamedLikePositionals);
  if (misnamed !== undefined) unknown(misnamed, "_");
  const parsed = parseArgs(words, {
    boolean: flags,
    string: [...valued, "_"],
    collect: valued,
    unknown,
  }) as unknown as Record<string, unknown> & { _: string[] };
  return {
    options: Object.fromEntries(valued.map((name) => [name, parsed[name] as string[]])),
    flags: flags.filter((name) => parsed[name]),
    positionals: [...parsed._, ...(signed ? argv.slice(-1) : [])],
  };
}

function parseValue(where: string, { type }: { type: PropertySpec["type"] }, text: string): unknown {
  const value = type.parse(text);
  if (value !== undefined) return value;
  throw new OptionError(where, `${quote(text)} is not accepted; expected ${type.expected}`);
}

function optionValue(where: string, name: string, spec: CommandSpec, texts: readonly string[]): unknown {
  const property = spec.options[name];
  const here = `${where} ${spelled(name)}`;
  if (texts.length > 0 && property.presence === "refused") {
    throw new OptionError(here, `is not supported: ${property.reason}`);
  }
  if (texts.includes("")) throw new OptionError(here, "its argument is missing");
  if (texts.length > 1 && !spec.joined?.includes(name)) throw new OptionError(here, "is given twice");
  if (texts.length > 0) return parseValue(here, property as PropertySpec, texts.join(","));
  return property.presence === "default" ? property.default : undefined;
}

function positionalValues(where: string, { positionals }: CommandSpec, words: readonly string[]): unknown[] {
  if (words.length > positionals.length) {
    throw new OptionError(where, `${quote(words[positionals.length])} is one argument too many`);
  }
  return positionals.map((positional, at) => {
    if (at < words.length) return parseValue(`${where} ${positional.name}`, positional, words[at]);
    if (positional.optional) return undefined;
    throw new OptionError(where, `${positional.name} is missing; 'splitvm img ${where} --help' explains it`);
  });
}

/** Whether a word asks for help. What follows `--` does not. */
function wantsHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === "--help" || word === "-h");
}

/**
 * Parses what follows `splitvm img`.
 *
 * @throws {OptionError} when it cannot be carried out.
 */
export function parseImgArguments(argv: readonly string[]): ImgRequest {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "-help") {
    return { kind: "help", command: undefined };
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new OptionError(quote(name), `unknown command${suggestion(name, Object.keys(COMMANDS))}`);
  }
  const command = name as CommandName;
  if (wantsHelp(rest)) return { kind: "help", command };
  const spec = SPECS[command];
  const words = splitWords(command, rest, spec);
  const options = Object.fromEntries(
    Object.entries(spec.options).map((
      [name, property],
    ) => [name, isFlag(property) ? words.flags.includes(name) : optionValue(command, name, spec, words.options[name])]),
  );
  if (typeof options.o === "string" && splitOption(`${command} -o`, options.o).help) {
    return { kind: "format help", format: (command === "create" ? options.f : options.O) as Format };
  }
  const positionals = positionalValues(command, spec, words.positionals);
  return { kind: "command", name: command, args: { options, positionals } as unknown as ImgArguments<CommandName> };
}
