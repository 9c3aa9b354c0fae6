/**
 * Direct I/O: switching it on, and what it asks of requests.
 *
 * @module
 */
import { checked } from "./errno.ts";
import { OpenFlags, statusFlags } from "./file.ts";
import { cString, syscalls } from "./syscall.ts";

const F_SETFL = 4;

/**
 * Switches O_DIRECT (fcntl(2), F_SETFL). It belongs to the open file, so every duplicate of the descriptor changes with it.
 *
 * @throws {SyscallError} EINVAL where the file system has no direct I/O.
 */
export function setDirectIo(fd: number, direct: boolean): void {
  const flags = statusFlags(fd) & ~OpenFlags.O_DIRECT;
  const wanted = direct ? flags | OpenFlags.O_DIRECT : flags;
  checked(`fcntl(${fd}, F_SETFL)`, syscalls().fcntl(fd, F_SETFL, wanted));
}

const AT_EMPTY_PATH = 0x1000;
const STATX_DIOALIGN = 0x2000;

/** What direct I/O on a file needs, in bytes; powers of two. */
export interface DirectAlignment {
  /** Of offsets and lengths. */
  readonly offset: number;
  /** Of addresses. */
  readonly memory: number;
}

/** What direct I/O on a file needs, where the kernel says so (Linux 6.1, statx(2), STATX_DIOALIGN). */
export function directAlignment(fd: number): DirectAlignment | undefined {
  // struct statx: stx_mask @0, stx_dio_mem_align @152, stx_dio_offset_align @156; 256 bytes.
  const status = new DataView(new ArrayBuffer(256));
  if (syscalls().statx(fd, cString(""), AT_EMPTY_PATH, STATX_DIOALIGN, status) < 0) return undefined;
  if ((status.getUint32(0, true) & STATX_DIOALIGN) === 0) return undefined;
  const [memory, offset] = [status.getUint32(152, true), status.getUint32(156, true)];
  return memory > 0 && offset > 0 ? { memory, offset } : undefined;
}
