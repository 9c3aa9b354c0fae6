/**
 * The segment that makes `deno` into splitvm: the entry code (`entry.asm`), its tables, and the program.
 *
 * @module
 */
import { assemble } from "../../guests/assembler/mod.ts";
import { EXECUTABLE_MODULE_URL } from "../../src/main_module.ts";

/**
 * The descriptor that the program is read from while it runs: high, so that descriptors that a caller passes by number
 * (`fd=3`) do not meet it.
 */
export const PROGRAM_DESCRIPTOR = 219;

/** What the segment is made from. */
export interface PayloadOptions {
  /** Address of the segment. Addresses are relative to where the executable is loaded. */
  readonly address: number;
  /** Address of deno's entry point. */
  readonly entry: number;
  /** Address of the word that holds the address of libc's `environ`. */
  readonly environSlot: number;
  /** deno's arguments before the URL of the program; the first is its name. */
  readonly arguments: readonly string[];
  /** Variables to add to the environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Variables whose `NAME=value` begins so are removed from the environment first. */
  readonly dropped: readonly string[];
  /** The program: one JavaScript module in UTF-8. */
  readonly program: Uint8Array;
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
    PROGRAM: options.program,
  };
  const offsets: Record<string, number> = {};
  let at = 0;
  for (const [name, bytes] of Object.entries(tables)) {
    offsets[name] = at;
    at += bytes.length;
  }
  return { bytes: concatenate(Object.values(tables)), offsets };
}

/**
 * The segment's bytes. Execution enters at the first.
 *
 * @throws {AssemblyError} if `entry.asm` cannot be assembled.
 */
export function buildPayload(options: PayloadOptions): Uint8Array<ArrayBuffer> {
  const tables = buildTables(options);
  const constants = {
    ...tables.offsets,
    PROGRAM_SIZE: options.program.length,
    PROGRAM_DESCRIPTOR,
    ORIGINAL_ENTRY: options.entry - options.address,
    ENVIRON_SLOT: options.environSlot - options.address,
    // argv[0] makes room for the URL.
    ADDED_POINTERS: options.arguments.length + Object.keys(options.variables).length + 1,
  };
  const source = Deno.readTextFileSync(new URL("entry.asm", import.meta.url));
  return concatenate([assemble(source, { constants }).bytes, tables.bytes]);
}
