/**
 * Keeps two programs from writing one image: the locks that QEMU takes, so that each notices the other.
 *
 * QEMU's protocol (block/file-posix.c) has a byte of the file for each permission: a shared lock on byte 100 + n says "I use
 * permission n", one on byte 200 + n says "I do not let others use permission n". Whoever opens an image takes its own locks
 * first and looks for contradictions then.
 *
 * @module
 */
import { isByteLocked, lockByteShared } from "../ffi/file_lock.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";

/** Permissions by bit number (QEMU, include/block/block-common.h, BLK_PERM_*). */
const Permission = { CONSISTENT_READ: 0, WRITE: 1, RESIZE: 3 } as const;

const USES = 100;
const FORBIDS = 200;

/** asm-generic/errno.h */
const ENOLCK = 37;

/** Answers of file systems and kernels without these locks; an image is then used unlocked, as QEMU does it. */
const NO_LOCKS: readonly number[] = [Errno.EINVAL, Errno.ENOSYS, Errno.EOPNOTSUPP, ENOLCK];

/** What somebody does with an image. */
export type ImageUse = "read" | "write" | "share";

/**
 * The permissions that a use needs, and those that others may not have meanwhile. A backing file is only read, so any number of overlays
 * share it, and nobody writes it; a reader by force (`qemu-img -U`) puts up with everything.
 */
const USES_OF: Readonly<Record<ImageUse, { readonly uses: readonly number[]; readonly forbids: readonly number[] }>> = {
  read: { uses: [Permission.CONSISTENT_READ], forbids: [Permission.WRITE, Permission.RESIZE] },
  write: {
    uses: [Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE],
    forbids: [Permission.WRITE, Permission.RESIZE],
  },
  share: { uses: [Permission.CONSISTENT_READ], forbids: [] },
};

/** Whether another open file writes to an image. Where the kernel or the file system has no such locks, that cannot be known: no. */
export function isImageWritten(fd: number): boolean {
  try {
    return isByteLocked(fd, USES + Permission.WRITE);
  } catch (error) {
    if (error instanceof SyscallError && NO_LOCKS.includes(error.errno)) return false;
    throw error;
  }
}

/**
 * Locks an open image for as long as it is open.
 *
 * @param fd Open for reading, whatever the use: a shared lock needs no more.
 * @returns Whether no other program uses the image in a way that contradicts this use.
 * @throws {SyscallError} when the kernel fails otherwise.
 */
export function lockImage(fd: number, use: ImageUse): boolean {
  const { uses, forbids } = USES_OF[use];
  try {
    const own = [...uses.map((permission) => USES + permission), ...forbids.map((permission) => FORBIDS + permission)];
    if (!own.every((byte) => lockByteShared(fd, byte))) return false;
    return !uses.some((permission) => isByteLocked(fd, FORBIDS + permission)) &&
      !forbids.some((permission) => isByteLocked(fd, USES + permission));
  } catch (error) {
    if (error instanceof SyscallError && NO_LOCKS.includes(error.errno)) return true;
    throw error;
  }
}
