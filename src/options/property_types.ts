/**
 * The types that a property's value can have: how it is spelled, what is accepted, what it becomes.
 *
 * @module
 */
import { formatByteSize, parseByteSize, parseInteger } from "./numbers.ts";

/** A type of property values. */
export interface PropertyType<T> {
  /** What stands for the value in a syntax line: `<size>`, `on|off`. */
  readonly syntax: string;
  /** What is accepted, in words that go on from "expected". */
  readonly expected: string;
  /** The value, or `undefined` when the text is not accepted. */
  parse(text: string): T | undefined;
  /** What is wrong with a text that {@linkcode parse} does not accept, where more can be said than what is expected. */
  problem?(text: string): string | undefined;
  /** A text that {@linkcode parse} takes back to the value. */
  format(value: T): string;
}

/** `on` or `off`. */
export const bool: PropertyType<boolean> = {
  syntax: "on|off",
  expected: "on or off",
  // QEMU's other words (qapi/qapi-util.c, qapi_bool_parse) are accepted, and not advertised there either.
  parse: (text) =>
    ["on", "yes", "true", "y"].includes(text) ? true : ["off", "no", "false", "n"].includes(text) ? false : undefined,
  format: (value) => value ? "on" : "off",
};

/** How often something may happen: `off` is 0, `on` without an end. */
export function limit({ max }: { max: number }): PropertyType<number> {
  const count = integer({ min: 1, max });
  return {
    syntax: "on|off|<n>",
    expected: `on, off, or ${count.expected}`,
    parse(text) {
      const enabled = bool.parse(text);
      return enabled === undefined ? count.parse(text) : enabled ? Infinity : 0;
    },
    format: (value) => value === 0 || value === Infinity ? bool.format(value > 0) : count.format(value),
  };
}

/** QEMU's identifiers (util/id.c): a letter, then letters, digits and `-._`. */
export const identifier: PropertyType<string> = {
  syntax: "<id>",
  expected: "a letter followed by at most 63 letters, digits, '-', '.' or '_'",
  parse: (text) => /^[a-z][a-z0-9._-]{0,63}$/i.test(text) ? text : undefined,
  format: (value) => value,
};

/** Free text without NUL, which no path and no C string can hold; not empty. */
export const text: PropertyType<string> = {
  syntax: "<text>",
  expected: "text that is not empty",
  parse: (text) => text !== "" && !text.includes("\0") ? text : undefined,
  format: (value) => value,
};

/** A path on the host. */
export const path: PropertyType<string> = { ...text, syntax: "<file>", expected: "a path" };

/** The path of a UNIX socket: `sun_path` holds 107 bytes besides its NUL (unix(7)). */
export const socketPath: PropertyType<string> = {
  ...path,
  expected: "a path of at most 107 bytes",
  parse: (value) => new TextEncoder().encode(value).length <= 107 ? path.parse(value) : undefined,
};

/** At most `longest` printable ASCII characters, as SCSI's ASCII fields hold them (SPC-4, section 4.3.1). */
export function ascii(longest: number): PropertyType<string> {
  return {
    syntax: "<text>",
    expected: `1 to ${longest} printable ASCII characters`,
    parse: (text) => text.length >= 1 && text.length <= longest && /^[\x20-\x7e]+$/.test(text) ? text : undefined,
    format: (value) => value,
  };
}

/** A context of SELinux (`user:role:type:level`) or the name of a profile of AppArmor. The kernel takes a page of it at most. */
export const securityContext: PropertyType<string> = {
  ...ascii(1024),
  syntax: "<context>",
  expected: "a context of SELinux or a profile of AppArmor: 1 to 1024 printable ASCII characters",
};

/** One of the words. */
export function oneOf<const T extends string>(...words: readonly T[]): PropertyType<T> {
  return {
    syntax: words.join("|"),
    expected: words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`,
    parse: (text) => words.find((word) => word === text),
    format: (value) => value,
  };
}

/** A whole number of a range, decimal or hexadecimal; `radix` 16 is for those that one usually writes in hexadecimal. */
export function integer(
  { min = 0, max, radix = 10 }: { min?: number; max: number; radix?: 10 | 16 },
): PropertyType<number> {
  const format = (value: number) => radix === 16 ? `0x${value.toString(16)}` : String(value);
  return {
    syntax: "<n>",
    expected: `a whole number from ${format(min)} to ${format(max)}`,
    parse(text) {
      const value = parseInteger(text);
      return value !== undefined && value >= min && value <= max ? Number(value) : undefined;
    },
    format,
  };
}

/** A time in milliseconds. `off`: 0 is accepted as well, and means none. */
export function milliseconds(
  { min, max, off = false }: { min: number; max: number; off?: boolean },
): PropertyType<number> {
  return {
    syntax: "<ms>",
    expected: `${off ? "0, or " : ""}a number of milliseconds from ${min} to ${max}`,
    parse(text) {
      const value = parseInteger(text);
      if (value === undefined) return undefined;
      return value >= min && value <= max || off && value === 0n ? Number(value) : undefined;
    },
    format: String,
  };
}

/** A whole number of 64 bits. */
export const uint64: PropertyType<bigint> = {
  syntax: "<n>",
  expected: "a whole number below 2^64",
  parse(text) {
    const value = parseInteger(text);
    return value !== undefined && value < 1n << 64n ? value : undefined;
  },
  format: (value) => `0x${value.toString(16)}`,
};

/** An inherited descriptor. 0, 1 and 2 are the standard streams, which nobody means to give away. */
export const descriptor: PropertyType<number> = {
  ...integer({ min: 3, max: 0x7fff_ffff }),
  syntax: "<fd>",
  expected: "the number of an open descriptor, 3 or above",
};

/** Which sizes are accepted. */
export interface SizeLimits {
  readonly min: number;
  readonly max: number;
  /** The size is a multiple of so many bytes. @default 1 */
  readonly multipleOf?: number;
  /** The size is a power of two. @default false */
  readonly powerOfTwo?: boolean;
  /** What a number without a suffix counts, in bytes. @default 1 */
  readonly unit?: number;
}

/** A number of bytes. */
export function size({ min, max, multipleOf = 1, powerOfTwo = false, unit = 1 }: SizeLimits): PropertyType<number> {
  const kind = powerOfTwo
    ? "a power of two"
    : multipleOf > 1
    ? `a multiple of ${formatByteSize(multipleOf)}`
    : "a size";
  return {
    syntax: "<size>",
    expected: `${kind} from ${formatByteSize(min)} to ${formatByteSize(max)}`,
    parse(text) {
      const bytes = parseByteSize(text, unit);
      if (bytes === undefined || bytes < min || bytes > max || bytes % multipleOf !== 0) return undefined;
      return powerOfTwo && 2 ** Math.round(Math.log2(bytes)) !== bytes ? undefined : bytes;
    },
    // A number without a suffix counts units.
    format: (bytes) => unit !== 1 && bytes % 1024 !== 0 ? `${bytes}b` : formatByteSize(bytes),
  };
}

/** Slots of bus 0 that a device can be put into: 0 holds the host bridge, 0x1f the ICH9 LPC bridge. */
const FIRST_FREE_SLOT = 1;
const LAST_FREE_SLOT = 0x1e;

/** A slot on PCI bus 0, in hexadecimal, with or without function 0: `06`, `06.0`. */
export const pciSlot: PropertyType<number> = {
  syntax: "<slot>[.0]",
  expected: `a PCI slot in hexadecimal, from 1 to ${LAST_FREE_SLOT.toString(16)}, function 0`,
  parse(text) {
    const digits = /^([0-9a-f]{1,2})(\.0)?$/i.exec(text)?.[1];
    const slot = parseInt(digits ?? "", 16);
    return slot >= FIRST_FREE_SLOT && slot <= LAST_FREE_SLOT ? slot : undefined;
  },
  format: (value) => value.toString(16).padStart(2, "0"),
};
