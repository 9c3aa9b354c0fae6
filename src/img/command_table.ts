/**
 * The sub-commands of `splitvm img`: what each takes and what it is for. Parsing and help texts are both made from this table.
 *
 * Names and meanings are those of qemu-img(1). What qemu-img has beyond that is refused by name.
 *
 * @module
 */
import { bool, integer, oneOf, path, type PropertyType, size, text } from "../options/property_types.ts";
import { type DefaultedProperty, optional, type Properties, refused, withDefault } from "../options/properties.ts";
import { parseByteSize } from "../options/numbers.ts";

/** What an option without an argument is: `true` where it is given. */
export const flag: PropertyType<boolean> = { ...bool, syntax: "" };

/** The formats that images can have. */
export const FORMATS = ["raw", "qcow2"] as const;

/** A format of images. */
export type Format = typeof FORMATS[number];

/** The cache modes of `-drive cache=`. */
const cacheMode = oneOf("writeback", "none", "writethrough", "directsync", "unsafe");

/** QEMU's largest number of coroutines for a conversion. */
const MOST_COROUTINES = 16;

/** The largest disk: sizes are safe integers, and disks have whole sectors. */
export const LARGEST_DISK = Number.MAX_SAFE_INTEGER - 511;

/** The size of a disk. */
export const diskSize: PropertyType<number> = {
  ...size({ min: 0, max: LARGEST_DISK }),
  expected: "a size such as 512M, 20G or 1.5T",
};

/** A new size, and how it relates to the old one. */
export interface SizeChange {
  /** Whether `bytes` is all of the new size, is added to the old one, or taken off it. */
  readonly relation: "=" | "+" | "-";
  readonly bytes: number;
}

const sizeChange: PropertyType<SizeChange> = {
  syntax: "[+|-]<size>",
  expected: "a size such as 20G, +5G or -512M",
  parse(text) {
    const [, sign, digits] = /^([+-]?)(.*)$/s.exec(text)!;
    const bytes = parseByteSize(digits);
    if (bytes === undefined || bytes > LARGEST_DISK) return undefined;
    return { relation: sign === "" ? "=" : sign as "+" | "-", bytes };
  },
  format: ({ relation, bytes }) => `${relation === "=" ? "" : relation}${bytes}`,
};

/** An argument that stands by itself, by its place. */
export interface Positional {
  /** As help texts write it. */
  readonly name: string;
  readonly type: PropertyType<unknown>;
  /** @default {false} */
  readonly optional?: boolean;
}

/** A sub-command. */
export interface CommandSpec {
  /** One line. */
  readonly description: string;
  /** By name without hyphens: `f` is `-f`, `shrink` is `--shrink`. Flags are those of type {@linkcode flag}. */
  readonly options: Properties;
  /** Options that may be given several times: their texts are joined with commas. */
  readonly joined?: readonly string[];
  readonly positionals: readonly Positional[];
  /** Further lines for its help. */
  readonly remarks?: readonly string[];
}

/** Declares an option that takes no argument. */
function given(description: string): DefaultedProperty<boolean> {
  return withDefault(flag, false, description);
}

const QUIET = given("prints nothing but errors");
const FORCE_SHARE = given("opens the image although another program writes to it; what is read may be inconsistent");
const OUTPUT = withDefault(oneOf("human", "json"), "human", "how the result is printed");
const FILE = { name: "FILE", type: path } as const satisfies Positional;

/** Options of qemu-img that no sub-command here has. */
const REFUSED = {
  object: refused("there are no secrets or other objects, which encrypted and remote images need"),
  "image-opts": refused("expected the path of an image"),
} as const satisfies Properties;

/** The sub-commands by name. */
export const COMMANDS = {
  create: {
    description: "makes an image",
    options: {
      q: QUIET,
      f: withDefault(oneOf(...FORMATS), "raw", "format of the image"),
      b: optional(
        path,
        "the image reads as this one where nothing has been written; relative names start from FILE's folder",
      ),
      F: optional(oneOf(...FORMATS), "format of the backing file; required with -b"),
      u: given("does not open the backing file, which may then be missing; a SIZE is required"),
      o: optional(text, "options of the format, as name=value with commas between; '-o help' lists them"),
      ...REFUSED,
    },
    joined: ["o"],
    positionals: [FILE, { name: "SIZE", type: diskSize, optional: true }],
    remarks: ["SIZE may be left out where a backing file has one."],
  },
  info: {
    description: "says what an image is",
    options: {
      f: optional(oneOf(...FORMATS), "format of the image, which is probed otherwise"),
      output: OUTPUT,
      "backing-chain": given("also for the backing file, its backing file, and so on"),
      U: FORCE_SHARE,
      ...REFUSED,
    },
    positionals: [FILE],
  },
  check: {
    description: "looks for inconsistencies in an image, and repairs them",
    options: {
      q: QUIET,
      f: optional(oneOf(...FORMATS), "format of the image, which is probed otherwise"),
      output: OUTPUT,
      r: optional(oneOf("leaks", "all"), "repairs: clusters that nothing refers to, or everything"),
      U: FORCE_SHARE,
      T: optional(cacheMode, "how the image is read, as -drive cache="),
      ...REFUSED,
    },
    positionals: [FILE],
    remarks: [
      "Exit status: 0 the image is consistent (after the repair, with -r), 1 the check could not be done, 2 it is corrupt,",
      "3 clusters are leaked, which costs space and nothing else, 63 the format has nothing to check.",
    ],
  },
  convert: {
    description: "copies an image into another, perhaps of another format",
    options: {
      c: given("compresses (qcow2 only)"),
      p: given("shows progress even where standard error is no terminal"),
      q: QUIET,
      n: given("DST exists and is written over; nothing is created"),
      "target-is-zero": given("with -n: DST reads as zeroes already, and zeroes are not written"),
      f: optional(oneOf(...FORMATS), "format of SRC, which is probed otherwise"),
      O: withDefault(oneOf(...FORMATS), "raw", "format of DST"),
      o: optional(text, "options of DST's format, as name=value with commas between; '-o help' lists them"),
      B: optional(path, "backing file of DST; what is the same in both is not copied"),
      F: optional(oneOf(...FORMATS), "format of the backing file; required with -B"),
      S: withDefault(
        size({ min: 0, max: 2 ** 20, multipleOf: 512 }),
        4096,
        "so many zeroes in a row are left out; 0 copies everything",
      ),
      t: withDefault(cacheMode, "writeback", "how DST is written, as -drive cache="),
      T: withDefault(cacheMode, "writeback", "how SRC is read, as -drive cache="),
      U: FORCE_SHARE,
      W: given("writes out of order, which is faster where DST is preallocated or a device"),
      m: withDefault(integer({ min: 1, max: MOST_COROUTINES }), 8, "how many requests are in flight"),
      ...REFUSED,
      "target-image-opts": refused("expected the path of an image"),
      bitmaps: refused("bitmaps are not copied"),
      l: refused("internal snapshots cannot be read"),
      salvage: refused("a source that cannot be read ends the conversion"),
      r: refused("there is no rate limit"),
      C: refused("the data always pass through splitvm, which looks for zeroes in them"),
    },
    joined: ["o"],
    positionals: [{ name: "SRC", type: path }, { name: "DST", type: path }],
    remarks: ["DST is on stable storage when the command ends, unless -t unsafe is given."],
  },
  resize: {
    description: "changes the size of an image",
    options: {
      f: optional(oneOf(...FORMATS), "format of the image, which is probed otherwise"),
      preallocation: withDefault(
        oneOf("off", "metadata", "falloc", "full"),
        "off",
        "what is allocated of the new part",
      ),
      shrink: given("allows a smaller size; what is beyond it is lost"),
      q: QUIET,
      ...REFUSED,
    },
    positionals: [FILE, { name: "[+|-]SIZE", type: sizeChange }],
  },
} as const satisfies Record<string, CommandSpec>;

/** A sub-command's name. */
export type CommandName = keyof typeof COMMANDS;
