/**
 * Puts a kernel into guest RAM, whatever kind it is.
 *
 * @module
 */

import { BootImageError, type BootRequest } from "./boot_request.ts";
import { isBzImage, loadBzImage } from "./bzimage.ts";
import type { InitialCpuState } from "./cpu_state.ts";
import { isElf } from "./elf.ts";
import { loadPvh } from "./pvh.ts";

/**
 * Loads a kernel: a PVH ELF file (Linux's vmlinux, or one of the project's guests) or a Linux bzImage, told apart by
 * content.
 *
 * @param image The whole file; may be hostile.
 * @returns The state of the boot processor.
 * @throws {BootImageError} when the image is not one of the two, is malformed, or does not fit. RAM may then hold parts
 * of it.
 */
export function loadKernel(image: Uint8Array, request: BootRequest): InitialCpuState {
  if (isElf(image)) return loadPvh(image, request);
  if (isBzImage(image)) return loadBzImage(image, request);
  throw new BootImageError("is neither an ELF file nor a Linux bzImage");
}
