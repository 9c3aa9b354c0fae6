/**
 * Takes a command line apart: options are looked up in the option table, arguments are parsed under its schemas.
 *
 * @module
 */
import { type KeyValue, splitOption } from "../options/keyval.ts";
import { nearest, OptionError, quote, suggestion } from "../options/option_error.ts";
import type { PropertyType } from "../options/property_types.ts";
import {
  locate,
  parseProperties,
  parseProperty,
  type Properties,
  type PropertyValues,
  type Role,
  type Variant,
  type Variants,
} from "../options/properties.ts";
import { DEVICE_TYPES } from "../options/device_types.ts";
import { type GlobalDefault, type OptionArgument, type OptionName, OPTIONS, type OptionSpec } from "./option_table.ts";

/** A variant that was named, with its properties. */
export type NamedVariant<V extends Variants> = {
  [K in keyof V]: { readonly name: K; readonly values: PropertyValues<V[K]["properties"]> };
}[keyof V];

type ArgumentValue<A extends OptionArgument> = A extends { kind: "value"; type: PropertyType<infer T> } ? T
  : A extends { kind: "properties"; properties: infer P extends Properties } ? PropertyValues<P>
  : A extends { kind: "variants"; variants: infer V extends Variants } ? NamedVariant<V>
  : true;

/** An option that was given. */
export interface Given<T> {
  /** The option as messages name it: `-device scsi-hd,id=hd0`. */
  readonly where: string;
  readonly value: T;
}

/** All that was given, by option, each in command-line order. */
export type Arguments = {
  readonly [N in OptionName]: readonly Given<ArgumentValue<typeof OPTIONS[N]["argument"]>>[];
};

/** An option and its argument, not looked into yet. */
export interface Token {
  readonly name: OptionName;
  /** `undefined` for an option that takes none. */
  readonly text: string | undefined;
}

const SPECS: Readonly<Record<OptionName, OptionSpec>> = OPTIONS;

const NAMES: ReadonlyMap<string, OptionName> = new Map(
  Object.entries<OptionSpec>(OPTIONS).flatMap(([name, { aliases = [] }]) =>
    [name, ...aliases].map((spelling) => [spelling, name as OptionName])
  ),
);

/**
 * Splits a command line into options.
 *
 * @throws {OptionError} for an unknown option, and for one that lacks its argument.
 */
export function* tokenize(argv: readonly string[]): Generator<Token> {
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at];
    const name = /^--?(?!-)(.+)$/s.exec(word)?.[1];
    if (name === undefined) {
      throw new OptionError(quote(word), "not an option; options begin with '-', images need -drive");
    }
    const known = NAMES.get(name);
    if (known === undefined) {
      const candidate = nearest(name, [...NAMES.keys()]);
      const hint = candidate === undefined ? "-help lists all options" : `did you mean '-${candidate}'?`;
      throw new OptionError(quote(word), `unknown option; ${hint}`);
    }
    if (SPECS[known].argument.kind === "flag") {
      yield { name: known, text: undefined };
    } else {
      const text = argv[++at];
      if (text === undefined) throw new OptionError(`-${known}`, "its argument is missing");
      yield { name: known, text };
    }
  }
}

/** A variant's own name and what it is. */
function findVariant(where: string, noun: string, variants: Variants, name: string): [string, Variant] {
  for (const [own, variant] of Object.entries(variants)) {
    if (name === own || name === variant.alias) return [own, variant];
  }
  throw new OptionError(where, `unknown ${noun} ${quote(name)}${suggestion(name, Object.keys(variants))}`);
}

/** The variant that an argument names, its key, and the pairs that are left. */
function takeVariant(
  option: string,
  argument: OptionArgument & { kind: "variants" },
  pairs: readonly KeyValue[],
): { name: string; variant: Variant; where: string; rest: readonly KeyValue[] } {
  const at = pairs.findIndex(({ key }) => key === argument.implied);
  const given = at < 0 ? argument.fallback : pairs[at].value;
  if (given === undefined) {
    throw new OptionError(
      option,
      `no ${argument.noun} is named; expected ${Object.keys(argument.variants).join(", ")}`,
    );
  }
  const [name, variant] = findVariant(option, argument.noun, argument.variants, given);
  return { name, variant, where: `${option} ${name}`, rest: at < 0 ? pairs : pairs.toSpliced(at, 1) };
}

/** What help an argument asks for. */
export interface HelpTopic {
  readonly option: OptionName;
  /** For an option with variants, the one asked about. */
  readonly variant?: string;
}

/** The help that a token asks for (`-device help`, `-device NAME,help`), if it does. */
export function helpTopic({ name, text }: Token): HelpTopic | undefined {
  const { argument } = SPECS[name];
  if (argument.kind !== "properties" && argument.kind !== "variants") return undefined;
  const { help, pairs } = splitOption(`-${name}`, text!, argument.implied);
  if (!help) return undefined;
  const named = argument.kind === "variants" && pairs.some(({ key }) => key === argument.implied);
  return named ? { option: name, variant: takeVariant(`-${name}`, argument, pairs).name } : { option: name };
}

/** The role that the `-machine` among the tokens asks for; without one, it is a VMM. */
export function roleOf(tokens: readonly Token[]): Role {
  const machine = tokens.find(({ name }) => name === "machine");
  if (machine === undefined) return "vmm";
  const { argument } = OPTIONS.machine;
  const { pairs } = splitOption("-machine", machine.text!, argument.implied);
  return takeVariant("-machine", argument, pairs).variant.roles[0];
}

/** How messages name a role. */
const MACHINE_OF: Readonly<Record<Role, string>> = { vmm: "-machine q35", remote: "-machine remote" };

function requireRole(where: string, roles: readonly Role[], role: Role): void {
  if (!roles.includes(role)) {
    throw new OptionError(where, `is for ${MACHINE_OF[roles[0]]}, and this is ${MACHINE_OF[role]}`);
  }
}

/** The pairs of a device, with those `-global` defaults that it does not give itself. */
export function withGlobals(driver: string, pairs: readonly KeyValue[], globals: Arguments["global"]): KeyValue[] {
  const defaults = new Map<string, KeyValue>();
  for (const { value } of globals) {
    if (value.driver !== driver || pairs.some(({ key }) => key === value.property)) continue;
    defaults.set(value.property, { key: value.property, value: value.value });
  }
  return [...pairs, ...defaults.values()];
}

/** Checks a `-global`, and gives the device its own name. */
function checkGlobal({ driver, property, value }: GlobalDefault): Given<GlobalDefault> {
  const [name, { properties }] = findVariant("-global", "device", DEVICE_TYPES, driver);
  const where = `-global ${name}.${property}`;
  if (property === "id") throw new OptionError(where, "is not a default: each device has an id of its own");
  parseProperty(where, properties, { key: property, value });
  return { where, value: { driver: name, property, value } };
}

function parseArgument(token: Token, role: Role, globals: Arguments["global"]): Given<unknown> {
  const option = `-${token.name}`;
  const { argument } = SPECS[token.name];
  if (argument.kind === "flag") return { where: option, value: true };
  const text = token.text!;
  if (argument.kind === "value") {
    const value = argument.type.parse(text);
    if (value !== undefined) return { where: option, value };
    const problem = argument.type.problem?.(text);
    throw new OptionError(option, problem ?? `${quote(text)} is not accepted; expected ${argument.type.expected}`);
  }
  const { pairs } = splitOption(option, text, argument.implied);
  if (argument.kind === "properties") {
    return { where: locate(option, pairs), value: parseProperties(option, argument.properties, pairs) };
  }
  const { name, variant, where, rest } = takeVariant(option, argument, pairs);
  requireRole(where, variant.roles, role);
  const all = token.name === "device" ? withGlobals(name, rest, globals) : rest;
  const values = parseProperties(where, variant.properties, all);
  return { where: locate(where, rest), value: { name, values } };
}

/**
 * Parses the arguments of a role's options.
 *
 * @throws {OptionError} for an option of the other role, for a second one where one is meant, and for an argument that is not
 * accepted.
 */
export function parseArguments(tokens: readonly Token[], role: Role): Arguments {
  const given = Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, [] as Given<unknown>[]]));
  const globals: Given<GlobalDefault>[] = [];
  for (const token of tokens) {
    if (token.name !== "global") continue;
    globals.push(checkGlobal(parseArgument(token, role, []).value as GlobalDefault));
  }
  for (const token of tokens) {
    const { roles, repeatable = false } = SPECS[token.name];
    requireRole(`-${token.name}`, roles, role);
    if (!repeatable && given[token.name].length > 0) throw new OptionError(`-${token.name}`, "is given twice");
    if (token.name !== "global") given[token.name].push(parseArgument(token, role, globals));
  }
  return { ...given, global: globals } as unknown as Arguments;
}
