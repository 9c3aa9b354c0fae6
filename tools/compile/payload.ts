/**
 * The segment that makes `deno` into splitvm: the entry code (`entry.asm`), its tables, and the modules.
 *
 * @module
 */
import { assemble } from "../../guests/assembler/mod.ts";
import { EXECUTABLE_MODULE_URL } from "../../src/main_module.ts";

/**
 * The first of the descriptors that modules are read from: high, so that descriptors that a caller passes by number
 * (`fd=3`) do not meet them.
 */
export const FIRST_DESCRIPTOR = 219;

/** How many modules `entry.asm` has room for in the main module's URL. */
const MOST_MODULES = 20;

/** What the segment is made from. */
export interface PayloadOptions {
  /** Address of the segment. Addresses are relative to where the executable is loaded. */
  readonly address: number;
  /** Address of deno's entry point. */
  readonly entry: number;
  /** Address of the word that holds the address of libc's `environ`. */
  readonly environSlot: number;
  /** deno's arguments before the URL of the main module; the first is its name. */
  readonly arguments: readonly string[];
  /** Variables to add to the environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Variables whose `NAME=value` begins so are removed from the environment first. */
  readonly dropped: readonly string[];
  /** JavaScript modules in UTF-8, the main one first. */
  readonly modules: readonly Uint8Array[];
}

/** The strings, each with a NUL, and an empty one that ends the list. */
function stringList(strings: readonly string[]): Uint8Array<ArrayBuffer> {
  for (const text of strings) {
    if (text === "" || text.includes("\0")) {
      throw new TypeError(`${JSON.stringify(text)} cannot stand in a list of NUL-terminated strings`);
    }
  }
  return new TextEncoder().encode(strings.map((text) => text + "\0").join("") + "\0");
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The tables behind the code, and the offset of each from the first. */
function buildTables(options: PayloadOptions): { bytes: Uint8Array<ArrayBuffer>; offsets: Record<string, number> } {
  const variables = Object.entries(options.variables).map(([name, value]) => `${name}=${value}`);
  const tables = {
    ARGUMENTS: stringList(options.arguments),
    VARIABLES: stringList(variables),
    DROPPED: stringList(options.dropped),
    URL: stringList([EXECUTABLE_MODULE_URL]),
    MODULES: new Uint8Array(8 * (options.modules.length + 1)),
  };
  const offsets: Record<string, number> = {};
  let at = 0;
  for (const [name, bytes] of Object.entries(tables)) {
    offsets[name] = at;
    at += bytes.length;
  }
  const list = new DataView(tables.MODULES.buffer);
  for (const [i, { length }] of options.modules.entries()) {
    list.setUint32(8 * i, at, true);
    list.setUint32(8 * i + 4, length, true);
    at += length;
  }
  return { bytes: concatenate([...Object.values(tables), ...options.modules]), offsets };
}

function requireModules(modules: readonly Uint8Array[]): void {
  if (modules.length === 0 || modules.length > MOST_MODULES) {
    throw new RangeError(`An executable has 1 to ${MOST_MODULES} modules, not ${modules.length}`);
  }
  if (modules.some(({ length }) => length === 0)) throw new RangeError("A module of an executable is not empty");
}

/**
 * The segment's bytes. Execution enters at the first.
 *
 * @throws {AssemblyError} if `entry.asm` cannot be assembled.
 * @throws {RangeError} for modules that it cannot take.
 */
export function buildPayload(options: PayloadOptions): Uint8Array<ArrayBuffer> {
  requireModules(options.modules);
  const tables = buildTables(options);
  const constants = {
    ...tables.offsets,
    FIRST_DESCRIPTOR,
    ORIGINAL_ENTRY: options.entry - options.address,
    ENVIRON_SLOT: options.environSlot - options.address,
    // argv[0] makes room for the URL.
    ADDED_POINTERS: options.arguments.length + Object.keys(options.variables).length + 1,
  };
  const source = Deno.readTextFileSync(new URL("entry.asm", import.meta.url));
  return concatenate([assemble(source, { constants }).bytes, tables.bytes]);
}
