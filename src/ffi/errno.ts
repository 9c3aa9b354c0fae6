/**
 * Linux error numbers, by name (include/uapi/asm-generic/errno-base.h and errno.h).
 *
 * @module
 */

/** The error numbers that splitvm tests for or reports by name. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  ENODATA: 61,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ECONNABORTED: 103,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ENOMEDIUM: 123,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Errno).map(([name, number]) => [number, name]),
);

/** The symbolic name of an error number, or `errno N` for one without a name here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/**
 * A system call that failed: names the call, what it was applied to, and the error number.
 *
 * `code` is the symbolic name (`"ENOENT"`), as Node's and Deno's own errors have it.
 */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** The symbolic name of the error number. */
  readonly code: string;

  /**
   * @param call The system call's name, and what it was applied to where that helps: `ioctl(KVM_RUN)`.
   * @param errno The positive error number.
   */
  constructor(readonly call: string, readonly errno: number) {
    super(`${call}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
  }
}

/**
 * Turns the kernel's "negative errno" convention into an exception.
 *
 * @param call What was tried, for the message.
 * @param result A raw result: zero or positive on success, `-errno` on failure.
 * @returns `result`, when it is not an error.
 * @throws {SyscallError} when `result` is negative.
 */
export function checked(call: string, result: number): number {
  if (result < 0) throw new SyscallError(call, -result);
  return result;
}
