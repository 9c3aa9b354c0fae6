/**
 * Assembles a PVH guest.
 *
 * The source ends with two symbols that say how it is to be loaded: `entry`, and `memory_end`, the end of the RAM that
 * it uses; `org` is the load address.
 *
 * @module
 */

import { assemble, type AssembleOptions } from "./assembler/mod.ts";
import pci from "./lib/pci.asm" with { type: "text" };
import cpu from "./lib/cpu.asm" with { type: "text" };
import lsi53c895a from "./lib/lsi53c895a.asm" with { type: "text" };
import power from "./lib/power.asm" with { type: "text" };
import serial from "./lib/serial.asm" with { type: "text" };
import { buildPvhElf } from "./pvh_elf.ts";

/** The shared routines that guests include. */
const LIBRARY = {
  "cpu.asm": cpu,
  "lsi53c895a.asm": lsi53c895a,
  "pci.asm": pci,
  "power.asm": power,
  "serial.asm": serial,
};

/** Where all PVH guests of the project are loaded: the start of extended memory. */
const LOAD_ADDRESS = 0x10_0000;

/**
 * The ELF file of a guest.
 *
 * @param source Its assembler source, for `org 0x100000`.
 * @param options Symbols and files that the source uses besides those of the shared library.
 */
export function buildPvhGuest(
  source: string,
  { constants = {}, files = {} }: Pick<AssembleOptions, "constants" | "files"> = {},
): Uint8Array<ArrayBuffer> {
  const { bytes, symbols } = assemble(source, { bits: 32, files: { ...LIBRARY, ...files }, constants });
  const entry = symbols.get("entry");
  const memoryEnd = symbols.get("memory_end");
  if (entry === undefined || memoryEnd === undefined) {
    throw new Error("A PVH guest's source must define entry and memory_end");
  }
  return buildPvhElf({ code: bytes, loadAddress: LOAD_ADDRESS, entry, memorySize: memoryEnd - LOAD_ADDRESS });
}
