/**
 * Character devices: what `-serial`, `-debugcon` and `-chardev` name.
 *
 * @module
 */
import { identifier, path, type PropertyType } from "../options/property_types.ts";
import { required, type Variants } from "../options/properties.ts";
import type { CharacterBackend } from "../vmm/config.ts";

/** What `-serial` and `-debugcon` can be given. */
export type CharacterTarget =
  | CharacterBackend
  /** There is no such device. */
  | { readonly kind: "none" }
  /** The `-chardev` with this id. */
  | { readonly kind: "chardev"; readonly id: string };

function parseTarget(text: string): CharacterTarget | undefined {
  if (text === "none" || text === "null" || text === "stdio") return { kind: text };
  const [, scheme, rest] = /^(file|chardev):(.*)$/s.exec(text) ?? [];
  if (scheme === "file" && path.parse(rest) !== undefined) return { kind: "file", path: rest };
  if (scheme === "chardev" && identifier.parse(rest) !== undefined) return { kind: "chardev", id: rest };
  return undefined;
}

/** QEMU's short spelling of a character device. */
export const characterTarget: PropertyType<CharacterTarget> = {
  syntax: "none|null|stdio|file:<file>|chardev:<id>",
  expected: "none, null, stdio, file:<file> or chardev:<id>",
  parse: parseTarget,
  format(target) {
    if (target.kind === "file") return `file:${target.path}`;
    return target.kind === "chardev" ? `chardev:${target.id}` : target.kind;
  },
};

/** `-chardev`. */
export const CHARDEV_TYPES = {
  "stdio": {
    description: "standard input and output",
    roles: ["vmm"],
    properties: { id: required(identifier, "name") },
  },
  "file": {
    description: "output goes to a file, which is made or truncated",
    roles: ["vmm"],
    properties: { id: required(identifier, "name"), path: required(path, "the file") },
  },
  "null": {
    description: "output is dropped, there is no input",
    roles: ["vmm"],
    properties: { id: required(identifier, "name") },
  },
} as const satisfies Variants;
