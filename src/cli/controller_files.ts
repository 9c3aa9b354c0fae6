/**
 * The image files of a controller, for processes that can open nothing.
 *
 * @module
 */
import { openDriveFiles } from "../block/image_files.ts";
import { isImageWritten } from "../block/image_lock.ts";
import { OpenFlags, statusFlags } from "../ffi/file.ts";
import type { ControllerConfig } from "../options/storage.ts";

/** Opens all of them. @throws {Error} naming the one that cannot be opened. */
export function openControllerFiles({ disks }: ControllerConfig) {
  return disks.flatMap(({ drive }) => openDriveFiles(drive));
}

/** Whether another program writes to one that is open for writing here. */
export function areWritten(files: readonly { readonly fd: number }[]): boolean {
  return files.some(({ fd }) => (statusFlags(fd) & OpenFlags.O_RDWR) !== 0 && isImageWritten(fd));
}
