/**
 * Locks on bytes of a file that belong to the open file, not to the process (fcntl(2), "Open file description locks").
 * They end when the last descriptor of the open file is closed, by death of its holders too.
 *
 * @module
 */
import { Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";

/** asm-generic/fcntl.h */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** struct flock on x86-64: l_type @0, l_whence @2 (0 is SEEK_SET), l_start @8, l_len @16, l_pid @24; 32 bytes. */
function flock(type: number, byte: number): DataView<ArrayBuffer> {
  const lock = new DataView(new ArrayBuffer(32));
  lock.setInt16(0, type, true);
  lock.setBigInt64(8, BigInt(byte), true);
  lock.setBigInt64(16, 1n, true);
  return lock;
}

/**
 * Takes a shared lock on one byte, without waiting.
 *
 * @returns Whether it could be had: not while another open file has an exclusive one.
 * @throws {SyscallError} when the file system has no such locks (EINVAL, ENOLCK).
 */
export function lockByteShared(fd: number, byte: number): boolean {
  const result = syscalls().fcntl_buffer(fd, F_OFD_SETLK, flock(F_RDLCK, byte));
  if (result === 0) return true;
  if (result === -Errno.EAGAIN || result === -Errno.EACCES) return false;
  throw new SyscallError(`fcntl(${fd}, F_OFD_SETLK)`, -result);
}

/** Whether another open file has a lock of any kind on this byte. @throws {SyscallError} as {@linkcode lockByteShared}. */
export function isByteLocked(fd: number, byte: number): boolean {
  const lock = flock(F_WRLCK, byte);
  const result = syscalls().fcntl_buffer(fd, F_OFD_GETLK, lock);
  if (result < 0) throw new SyscallError(`fcntl(${fd}, F_OFD_GETLK)`, -result);
  return lock.getInt16(0, true) !== F_UNLCK;
}
