/**
 * Switching O_DIRECT on an open file.
 *
 * @module
 */
import { checked } from "./errno.ts";
import { OpenFlags, statusFlags } from "./file.ts";
import { syscalls } from "./syscall.ts";

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
