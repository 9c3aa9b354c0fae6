/**
 * Property schemas, and the typed objects that option strings become under them.
 *
 * ```ts
 * const schema = {
 *   id: required(identifier, "name of the disk"),
 *   lun: withDefault(integer({ max: 7 }), 0, "logical unit"),
 * } satisfies Properties;
 * const disk = parseProperties("-device disk", schema, splitOption("-device disk", "id=a,lun=3").pairs);
 * disk.lun; // 3, a number
 * ```
 *
 * @module
 */
import type { KeyValue } from "./keyval.ts";
import { OptionError, quote, suggestion } from "./option_error.ts";
import { bool, identifier, type PropertyType } from "./property_types.ts";

interface PropertyBase<T> {
  readonly type: PropertyType<T>;
  /** One line, for help texts. */
  readonly description: string;
}

/** A property that must be given. */
export interface RequiredProperty<T> extends PropertyBase<T> {
  readonly presence: "required";
}

/** A property that is `undefined` when it is not given. */
export interface OptionalProperty<T> extends PropertyBase<T> {
  readonly presence: "optional";
}

/** A property with a value of its own when it is not given. */
export interface DefaultedProperty<T> extends PropertyBase<T> {
  readonly presence: "default";
  readonly default: T;
}

/** A property that QEMU has and splitvm has not: giving it says why. */
export interface RefusedProperty {
  readonly presence: "refused";
  readonly reason: string;
}

/** A property that can be given. */
export type PropertySpec = RequiredProperty<unknown> | OptionalProperty<unknown> | DefaultedProperty<unknown>;

/** Any property. */
export type Property = PropertySpec | RefusedProperty;

/** A schema: property name → property. */
export type Properties = Readonly<Record<string, Property>>;

/** What a process can be. */
export type Role = "remote" | "vmm";

/** One of the things that an option can name: a device, an object, a machine. */
export interface Variant {
  readonly description: string;
  /** QEMU's name for it while it is experimental there; accepted as well. */
  readonly alias?: string;
  /** The roles that have it. */
  readonly roles: readonly Role[];
  readonly properties: Properties;
}

/** Variants by name. */
export type Variants = Readonly<Record<string, Variant>>;

type PropertyValue<P extends Property> = P extends RequiredProperty<infer T> ? T
  : P extends DefaultedProperty<infer T> ? T
  : P extends OptionalProperty<infer T> ? T | undefined
  : never;

/** What {@linkcode parseProperties} makes under schema `S`. */
export type PropertyValues<S extends Properties> = {
  readonly [K in keyof S as S[K] extends RefusedProperty ? never : K]: PropertyValue<S[K]>;
};

/** Declares a property that must be given. */
export function required<T>(type: PropertyType<T>, description: string): RequiredProperty<T> {
  return { presence: "required", type, description };
}

/** Declares a property that may be left out. */
export function optional<T>(type: PropertyType<T>, description: string): OptionalProperty<T> {
  return { presence: "optional", type, description };
}

/** Declares a property that has a value when it is left out. */
export function withDefault<T>(type: PropertyType<T>, value: NoInfer<T>, description: string): DefaultedProperty<T> {
  return { presence: "default", type, default: value, description };
}

/** Declares a property of QEMU's that is refused for a reason. */
export function refused(reason: string): RefusedProperty {
  return { presence: "refused", reason };
}

/** Names of the properties that can be given. */
export function propertyNames(schema: Properties): string[] {
  return Object.keys(schema).filter((name) => schema[name].presence !== "refused");
}

/** `id=<id>`, as syntax lines and error messages write a property. */
export function propertySyntax(name: string, property: PropertySpec): string {
  return `${name}=${property.type.syntax}`;
}

/**
 * Gives one property its value.
 *
 * @throws {OptionError} when the property is unknown or refused, or the value is not accepted.
 */
export function parseProperty(where: string, schema: Properties, { key, value }: KeyValue): unknown {
  if (!Object.hasOwn(schema, key)) {
    throw new OptionError(where, `unknown property ${quote(key)}${suggestion(key, propertyNames(schema))}`);
  }
  const property = schema[key];
  if (property.presence === "refused") throw new OptionError(where, `'${key}' is not supported: ${property.reason}`);
  // QEMU's short form: a truth value's name alone switches it on.
  const given = value ?? (property.type === bool ? "on" : undefined);
  if (given === undefined) {
    throw new OptionError(where, `'${key}' has no value; expected ${propertySyntax(key, property)}`);
  }
  const parsed = property.type.parse(given);
  if (parsed === undefined) {
    throw new OptionError(where, `${key}=${quote(given)} is not accepted; expected ${property.type.expected}`);
  }
  return parsed;
}

/** Adds the id among the pairs, if there is a well-formed one, to where a message says that something is wrong. */
export function locate(where: string, pairs: readonly KeyValue[]): string {
  const id = pairs.find(({ key }) => key === "id")?.value;
  if (id === undefined || identifier.parse(id) === undefined) return where;
  return `${where}${where.includes(" ") ? "," : " "}id=${id}`;
}

/**
 * Gives each property its value.
 *
 * @param where The option, for error messages, as {@linkcode locate} takes it.
 * @throws {OptionError} for a property that is unknown, given twice, missing, or has a value that is not accepted. (QEMU
 * takes the last of two; of two that differ, one is a mistake.)
 */
export function parseProperties<S extends Properties>(
  where: string,
  schema: S,
  pairs: readonly KeyValue[],
): PropertyValues<S> {
  const here = locate(where, pairs);
  const given = new Map<string, unknown>();
  for (const pair of pairs) {
    if (given.has(pair.key)) throw new OptionError(here, `${quote(pair.key)} is given twice`);
    given.set(pair.key, parseProperty(here, schema, pair));
  }
  const values: Record<string, unknown> = {};
  for (const name of propertyNames(schema)) {
    const property = schema[name] as PropertySpec;
    if (property.presence === "required" && !given.has(name)) {
      throw new OptionError(here, `'${name}' is missing; expected ${propertySyntax(name, property)}`);
    }
    values[name] = given.has(name) || property.presence !== "default" ? given.get(name) : property.default;
  }
  return values as PropertyValues<S>;
}
