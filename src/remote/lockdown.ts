/**
 * The last step into the jail, which a device process takes by itself: once it has all open that it will ever need, and before it looks
 * into any of it, it gives up opening.
 *
 * @module
 */
import { openDriveFiles } from "../block/image_files.ts";
import { leaseEngine, prepareEngines } from "../block/io_engine.ts";
import { findGivenFile, giveFiles } from "../block/open_path.ts";
import type { EventLoop } from "../event_loop.ts";
import { FileOperation } from "../ffi/blocking_io.ts";
import { fileStatus, FileType } from "../ffi/file.ts";
import { type DeviceClass, serviceFilter } from "../ffi/jail/device_calls.ts";
import { denyNewPrivilegesHere } from "../ffi/jail/privileges.ts";
import { filterThisProcess } from "../ffi/jail/seccomp.ts";
import { currentProcessId } from "../ffi/process.ts";
import type { DriveConfig } from "../options/storage.ts";

/** What a process has to be able to do once it is locked down. */
export interface LockDownOptions {
  /** The classes of its devices. */
  readonly classes: readonly DeviceClass[];
  /** What they will have. Files that were not given are opened before. */
  readonly drives: readonly DriveConfig[];
}

/**
 * Leaves this process, all its threads, the system calls that serving devices takes, for good. Images, which may be malicious, are opened
 * after that: their files are then, and the engines that read them.
 *
 * @param loop What the devices will be served from.
 * @returns what gives back what was held ready, once the images are open.
 * @throws {Error} when a file or an engine cannot be had, or the kernel has no filters.
 */
export function lockDown(loop: EventLoop, { classes, drives }: LockDownOptions): () => void {
  const leases = drives.map((drive) => holdReady(loop, drive));
  prepareEngines(loop);
  try {
    denyNewPrivilegesHere();
    filterThisProcess(serviceFilter(classes, currentProcessId()));
  } catch (cause) {
    throw new Error("Cannot restrict the device process's system calls (-sandbox off does without)", { cause });
  }
  return () => leases.forEach(({ release }) => release());
}

/** Opens what a drive needs. */
function holdReady(loop: EventLoop, drive: DriveConfig) {
  const { id, file, aio } = drive;
  if (findGivenFile(file) === undefined) giveFiles(openDriveFiles(drive));
  try {
    const lease = leaseEngine(loop, aio);
    if (isBlockDevice(file)) lease.expect([FileOperation.DISCARD, FileOperation.ZERO_OUT]);
    return lease;
  } catch (cause) {
    throw new Error(`drive ${id}: Cannot open ${file}`, { cause });
  }
}

function isBlockDevice(file: string): boolean {
  const fd = findGivenFile(file);
  return fd !== undefined && (fileStatus(fd).mode & FileType.MASK) === FileType.BLOCK_DEVICE;
}
