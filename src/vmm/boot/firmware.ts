/**
 * Where a firmware image goes: it ends at 4 GiB, where the processor's reset vector is, and its last part appears again
 * below 1 MiB.
 *
 * @module
 */

import { FirmwareLayout, LegacyRegion } from "../layout.ts";
import { BootImageError } from "./boot_request.ts";

/** What to map of a firmware image. All numbers are bytes. */
export interface FirmwarePlacement {
  readonly size: number;
  /** First guest-physical address of the whole image. */
  readonly gpa: number;
  /** First guest-physical address of the part that ends at 1 MiB. */
  readonly aliasGpa: number;
  /** Size of that part: the image's last 128 KiB, or all of a smaller image. */
  readonly aliasSize: number;
  /** Where that part begins in the image. */
  readonly aliasOffset: number;
}

/** Firmware comes in units of a real-mode segment. */
const GRANULARITY = 0x1_0000;

/**
 * Decides where a firmware image of `size` bytes goes.
 *
 * @throws {BootImageError} when no flash has that size.
 */
export function placeFirmware(size: number): FirmwarePlacement {
  if (size === 0 || size % GRANULARITY !== 0 || size > FirmwareLayout.MAX_SIZE) {
    const limit = FirmwareLayout.MAX_SIZE / 0x10_0000;
    throw new BootImageError(`has ${size} bytes; a firmware image has a multiple of 64 KiB, up to ${limit} MiB`);
  }
  const aliasSize = Math.min(size, LegacyRegion.BIOS_ALIAS_MAX_SIZE);
  return {
    size,
    gpa: FirmwareLayout.END - size,
    aliasGpa: LegacyRegion.PAM_END - aliasSize,
    aliasSize,
    aliasOffset: size - aliasSize,
  };
}
