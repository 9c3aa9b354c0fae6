/**
 * Threads of this process by their kernel ids.
 *
 * @module
 */
import { Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";
import { Signal } from "./process.ts";

/** The kernel's id of the calling thread. */
export function currentThreadId(): number {
  return syscalls().gettid();
}

/** Makes sure that a kick interrupts a system call and does nothing else. Once in a process, on the main thread. */
export function acceptKicks(): void {
  Deno.addSignalListener("SIGUSR1", () => {});
}

/** Sends a thread of this process the signal that ends a blocking system call with EINTR. A thread that has ended is left alone. */
export function kickThread(threadId: number): void {
  const result = syscalls().tgkill(syscalls().getpid(), threadId, Signal.USR1);
  if (result < 0 && result !== -Errno.ESRCH) throw new SyscallError(`tgkill(${threadId})`, -result);
}
