/**
 * The image files of a controller, for processes that can open nothing.
 *
 * @module
 */
import { openDriveFiles } from "../block/image_files.ts";
import { isImageWritten } from "../block/image_lock.ts";
import type { ControllerConfig } from "../options/storage.ts";

/** Opens all of them. @throws {Error} naming the one that cannot be opened. */
export function openControllerFiles({ disks }: ControllerConfig) {
  return disks.flatMap(({ drive }) => openDriveFiles(drive));
}

/** Whether a program writes to one of them. */
export function areWritten(files: readonly { readonly fd: number }[]): boolean {
  return files.some(({ fd }) => isImageWritten(fd));
}
