/**
 * How long a device process may make a file.
 *
 * @module
 */
import { blockDeviceSize, fileStatus, FileType } from "../ffi/file.ts";
import type { DriveConfig } from "../options/storage.ts";

/** Bytes that any file may have: standard error may be one, and memory files are some. */
const ANY_FILE = 2 ** 30;

/**
 * The largest size that a file needs which a process with these drives writes to: a raw image stays as long as it is. `undefined` where
 * one may grow, which are qcow2 images, those whose format is told from themselves, and what `snapshot=on` writes to.
 *
 * @param files All that their images are made of, open.
 */
export function largestFile(
  drives: readonly Pick<DriveConfig, "format" | "snapshot">[],
  files: readonly { readonly fd: number }[],
): number | undefined {
  if (!drives.every(({ format, snapshot }) => format === "raw" && !snapshot)) return undefined;
  return Math.max(ANY_FILE, ...files.map(({ fd }) => sizeOf(fd)));
}

function sizeOf(fd: number): number {
  const { mode, size } = fileStatus(fd);
  return (mode & FileType.MASK) === FileType.BLOCK_DEVICE ? blockDeviceSize(fd) : size;
}
