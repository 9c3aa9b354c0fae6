/**
 * What `-o` takes, by format: the options of a new image.
 *
 * @module
 */
import { splitOption } from "../options/keyval.ts";
import { OptionError } from "../options/option_error.ts";
import { bool, oneOf, path, type PropertyType, size } from "../options/property_types.ts";
import {
  optional,
  parseProperties,
  type Properties,
  type PropertySpec,
  type PropertyValues,
  refused,
  withDefault,
} from "../options/properties.ts";
import { diskSize, type Format, FORMATS } from "./command_table.ts";
import { printable } from "../printable.ts";

/** QEMU's two names for each version of the format. */
const compat: PropertyType<2 | 3> = {
  syntax: "1.1|0.10",
  expected: "1.1 or v3, 0.10 or v2",
  parse: (text) => text === "1.1" || text === "v3" ? 3 : text === "0.10" || text === "v2" ? 2 : undefined,
  format: (version) => version === 3 ? "1.1" : "0.10",
};

/** Widths of a refcount. */
const refcountBits: PropertyType<number> = {
  syntax: "1|2|4|8|16|32|64",
  expected: "1, 2, 4, 8, 16, 32 or 64",
  parse: (text) => [1, 2, 4, 8, 16, 32, 64].find((bits) => String(bits) === text),
  format: String,
};

const SIZE = optional(diskSize, "size of the disk, where no SIZE is given");

const RAW = {
  size: SIZE,
  preallocation: optional(oneOf("off", "falloc", "full"), "allocates space, or writes zeroes; off otherwise"),
  nocow: refused("copy-on-write of file systems is not changed"),
  extent_size_hint: refused("the file system decides on the size of extents"),
} as const satisfies Properties;

const QCOW2 = {
  size: SIZE,
  compat: optional(compat, "version of the format; 1.1 otherwise"),
  backing_file: optional(path, "as -b"),
  backing_fmt: optional(oneOf(...FORMATS), "as -F"),
  cluster_size: withDefault(size({ min: 512, max: 2 * 2 ** 20, powerOfTwo: true }), 65536, "size of a cluster"),
  preallocation: optional(
    oneOf("off", "metadata", "falloc", "full"),
    "allocates tables, space too, or writes zeroes; off otherwise",
  ),
  lazy_refcounts: withDefault(bool, false, "refcounts are written late, and repaired after a crash"),
  refcount_bits: withDefault(refcountBits, 16, "width of a refcount"),
  extended_l2: withDefault(bool, false, "clusters have 32 subclusters"),
  compression_type: withDefault(oneOf("zlib", "zstd"), "zlib", "how compressed clusters are compressed"),
  data_file: optional(path, "file for the data; the image has the tables only"),
  data_file_raw: optional(bool, "the data file is a raw image by itself; off otherwise"),
  encryption: refused("encrypted images are not"),
  "encrypt.format": refused("encrypted images are not"),
  nocow: refused("copy-on-write of file systems is not changed"),
} as const satisfies Properties;

/** The options of a format. */
export const FORMAT_OPTIONS = { raw: RAW, qcow2: QCOW2 } as const satisfies Record<Format, Properties>;

/** What is asked of a raw image. */
export type RawFormatOptions = PropertyValues<typeof RAW>;

/** What is asked of a qcow2 image. */
export type Qcow2FormatOptions = PropertyValues<typeof QCOW2>;

/** A format and its options. */
export type ImageFormat =
  | { readonly format: "raw"; readonly options: RawFormatOptions }
  | { readonly format: "qcow2"; readonly options: Qcow2FormatOptions };

/**
 * Parses the argument of `-o`.
 *
 * @param where The option, for messages.
 * @throws {OptionError} for an option that the format does not have, and a value that is not accepted.
 */
export function parseFormatOptions(where: string, format: Format, text: string | undefined): ImageFormat {
  const { pairs } = splitOption(where, text ?? "");
  if (format === "raw") {
    const backing = pairs.find(({ key }) => key === "backing_file" || key === "backing_fmt");
    if (backing !== undefined) throw new OptionError(where, `raw images have no '${backing.key}'; expected -f qcow2`);
    return { format, options: parseProperties(where, RAW, pairs) };
  }
  return { format, options: parseProperties(where, QCOW2, pairs) };
}

/** The order in which qemu-img tells the options of a new image. */
const TOLD = [
  "cluster_size",
  "extended_l2",
  "preallocation",
  "compression_type",
  "size",
  "compat",
  "backing_file",
  "backing_fmt",
  "data_file",
  "data_file_raw",
  "lazy_refcounts",
  "refcount_bits",
];

/** The line that tells of a new image: `Formatting 'a.img', fmt=raw size=1048576`. */
export function formattingLine(file: string, { format, options }: ImageFormat, size: number): string {
  const properties: Properties = FORMAT_OPTIONS[format];
  const values: Readonly<Record<string, unknown>> = { ...options, size };
  const order = format === "raw" ? ["size", "preallocation"] : TOLD;
  const told = order.filter((name) => values[name] !== undefined).map((name) => {
    const { type } = properties[name] as PropertySpec;
    const bytes = name === "size" || name === "cluster_size";
    const value = bytes ? String(values[name]) : type.format(values[name]).replaceAll(",", ",,");
    return `${name}=${value}`;
  });
  return printable(`Formatting '${file}', fmt=${format} ${told.join(" ")}`);
}
