/**
 * Requests to files as data, for threads that carry them out by system calls that wait.
 *
 * @module
 */
import { Errno } from "./errno.ts";
import { syscalls } from "./syscall.ts";

/** What can be asked of an open file. */
export const FileOperation = {
  READ: 0,
  WRITE: 1,
  SYNC_DATA: 2,
  ALLOCATE: 3,
  TRUNCATE: 4,
  DISCARD: 5,
  ZERO_OUT: 6,
  SEEK_DATA: 7,
  SEEK_HOLE: 8,
} as const;

export type FileOperation = typeof FileOperation[keyof typeof FileOperation];

/** The system call behind each operation, for messages. */
export const OPERATION_CALLS: readonly string[] = [
  "pread",
  "pwrite",
  "fdatasync",
  "fallocate",
  "ftruncate",
  "ioctl(BLKDISCARD)",
  "ioctl(BLKZEROOUT)",
  "lseek(SEEK_DATA)",
  "lseek(SEEK_HOLE)",
];

/** linux/fs.h */
const BLKDISCARD = 0x1277;
const BLKZEROOUT = 0x127f;

/** unistd.h */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The most that one READ or WRITE moves; the kernel has a limit of its own close to 2 GiB. */
export const MOST_BYTES = 2 ** 30;

/** One request. What an operation does not need is ignored. */
export interface FileJob {
  readonly operation: FileOperation;
  readonly fd: number;
  /** In bytes; the size for TRUNCATE. */
  readonly offset: number;
  /** In bytes; at most {@linkcode MOST_BYTES} for READ and WRITE. */
  readonly length: number;
  /** Of the memory for READ and WRITE. */
  readonly address: number;
  /** For ALLOCATE: see `Fallocate`. */
  readonly mode: number;
}

/** Carries out a request, waiting as long as it takes. @returns what the system call returned: `-errno` on failure. */
export function carryOut(job: FileJob): number {
  for (;;) {
    const result = attempt(job);
    if (result !== -Errno.EINTR) return result;
  }
}

function attempt({ operation, fd, offset, length, address, mode }: FileJob): number {
  switch (operation) {
    case FileOperation.READ:
      return syscalls().pread_address(fd, BigInt(address), length, BigInt(offset));
    case FileOperation.WRITE:
      return syscalls().pwrite_address(fd, BigInt(address), length, BigInt(offset));
    case FileOperation.SYNC_DATA:
      return syscalls().fdatasync(fd);
    case FileOperation.ALLOCATE:
      return syscalls().fallocate(fd, mode, BigInt(offset), BigInt(length));
    case FileOperation.TRUNCATE:
      return syscalls().ftruncate(fd, BigInt(offset));
    case FileOperation.DISCARD:
      return syscalls().ioctl_buffer(fd, BLKDISCARD, BigUint64Array.of(BigInt(offset), BigInt(length)));
    case FileOperation.ZERO_OUT:
      return syscalls().ioctl_buffer(fd, BLKZEROOUT, BigUint64Array.of(BigInt(offset), BigInt(length)));
    case FileOperation.SEEK_DATA:
      return Number(syscalls().lseek(fd, BigInt(offset), SEEK_DATA));
    case FileOperation.SEEK_HOLE:
      return Number(syscalls().lseek(fd, BigInt(offset), SEEK_HOLE));
  }
}

/** struct iovec: void *iov_base, size_t iov_len. */
const vector = new Uint32Array(4);

const RWF_NOWAIT = 8;

/**
 * Reads or writes as far as that takes no waiting for the disk (preadv2(2), RWF_NOWAIT).
 *
 * @returns how many bytes were moved, or `-errno`: EAGAIN where the disk would be waited for, EOPNOTSUPP where the file system cannot tell.
 */
export function moveNow(write: boolean, fd: number, offset: number, address: number, length: number): number {
  vector[0] = address; // modulo 2 ** 32, as typed arrays store
  vector[1] = address / 2 ** 32;
  vector[2] = length;
  return write
    ? syscalls().pwritev2(fd, vector, 1, BigInt(offset), 0, RWF_NOWAIT)
    : syscalls().preadv2(fd, vector, 1, BigInt(offset), 0, RWF_NOWAIT);
}
