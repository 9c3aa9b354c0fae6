/**
 * A small x86 assembler: the project's guests and the executable's entry stub are built by the project itself.
 *
 * It reads a subset of NASM's language (Intel operand order) and writes flat bytes. See `README.md` in this folder for
 * what the subset is.
 *
 * ```ts
 * import { assemble } from "./mod.ts";
 *
 * const { bytes } = assemble("bits 16\norg 0x7c00\nhang: hlt\njmp hang");
 * console.log(bytes); // Uint8Array [ 0xf4, 0xeb, 0xfd ]
 * ```
 *
 * @module
 */

export { assemble, type AssembleOptions, type Assembly } from "./assembler.ts";
export { AssemblyError } from "./errors.ts";
