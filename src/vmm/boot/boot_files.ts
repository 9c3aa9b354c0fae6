/**
 * The files that a machine boots from, read from the host.
 *
 * @module
 */
import { mapAnonymous } from "../../ffi/memory.ts";
import type { KernelConfig } from "../config.ts";
import type { FirmwareImage } from "../memory_map.ts";
import { BootImageError } from "./boot_request.ts";
import { placeFirmware } from "./firmware.ts";
import { FirmwareLayout } from "../layout.ts";
import { readHostFile } from "../host_file.ts";

/** Where Debian and other distributions install SeaBIOS. */
const DEFAULT_FIRMWARE = ["/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin"];

/** A vmlinux may carry far more symbols and debug information than are loaded. */
const LARGEST_KERNEL = 2 ** 30;

/** A kernel and its initial RAM disk, whole. */
export interface KernelFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array | undefined;
}

/**
 * Reads `-kernel` and `-initrd`.
 *
 * @param ram Bytes of guest RAM: a file that is larger has no use.
 * @throws {Error} naming the file that cannot be read.
 */
export function readKernelFiles({ file, initrd }: KernelConfig, ram: number): KernelFiles {
  return {
    kernel: readHostFile("kernel", file, Math.max(ram, LARGEST_KERNEL)),
    initrd: initrd === undefined ? undefined : readHostFile("initrd", initrd, ram),
  };
}

/**
 * Reads a firmware image into memory of its own, which KVM maps into the guest.
 *
 * @param path `undefined` for the SeaBIOS that is installed.
 * @throws {Error} when there is none, or it cannot be read or used.
 */
export function loadFirmware(path: string | undefined): FirmwareImage {
  const file = path ?? installedFirmware();
  const image = readHostFile("firmware image", file, FirmwareLayout.MAX_SIZE);
  const { size, gpa, aliasGpa } = placedFirmware(file, image.length);
  const mapping = mapAnonymous(size);
  mapping.bytes.set(image);
  return { address: mapping.address, size, gpa, aliasGpa };
}

function placedFirmware(file: string, size: number) {
  try {
    return placeFirmware(size);
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    throw new Error(`Cannot use the firmware image ${file}: it ${error.message}`);
  }
}

function installedFirmware(): string {
  for (const path of DEFAULT_FIRMWARE) {
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch {
      // The next one may be there.
    }
  }
  throw new Error(
    `No firmware: neither ${
      DEFAULT_FIRMWARE.join(" nor ")
    } exists; install SeaBIOS (Debian's package seabios) or name an image with -bios`,
  );
}
