/**
 * Threads of this process by their kernel ids.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";
import { Signal } from "./process.ts";

/** What a kick is: not SIGUSR1, upon which Deno opens a port for debuggers in a process that listens for it. */
const KICK = Signal.USR2;

/** The kernel's id of the calling thread. */
export function currentThreadId(): number {
  return syscalls().gettid();
}

/** Makes sure that a kick interrupts a system call and does nothing else. Once in a process, on the main thread. */
export function acceptKicks(): void {
  Deno.addSignalListener("SIGUSR2", () => {});
}

/** Sends a thread of this process the signal that ends a blocking system call with EINTR. A thread that has ended is left alone. */
export function kickThread(threadId: number): void {
  const result = syscalls().tgkill(syscalls().getpid(), threadId, KICK);
  if (result < 0 && result !== -Errno.ESRCH) throw new SyscallError(`tgkill(${threadId})`, -result);
}

/** As `sigev_notify`: the signal goes to one thread (linux/signal.h, SIGEV_THREAD_ID). */
const SIGEV_THREAD_ID = 4;
const CLOCK_MONOTONIC = 1;

/**
 * Kicks the calling thread again and again, until the returned function is called: a system call that a kick just misses is reached by
 * the next one.
 *
 * @param period Milliseconds from kick to kick, below 1000.
 */
export function kickRegularly(period: number): () => void {
  // struct sigevent (asm-generic/siginfo.h): sigev_value @0, sigev_signo @8, sigev_notify @12, the thread's id @16; 64 bytes.
  const event = new DataView(new ArrayBuffer(64));
  event.setInt32(8, KICK, true);
  event.setInt32(12, SIGEV_THREAD_ID, true);
  event.setInt32(16, currentThreadId(), true);
  const timer = new Int32Array(1);
  checked("timer_create", syscalls().timer_create(CLOCK_MONOTONIC, event, timer));
  const spec = new DataView(new ArrayBuffer(32)); // struct itimerspec: interval {s, ns} @0, value {s, ns} @16
  spec.setUint32(8, period * 1e6, true);
  spec.setUint32(24, period * 1e6, true);
  checked("timer_settime", syscalls().timer_settime(timer[0], 0, spec, null));
  return () => void syscalls().timer_delete(timer[0]);
}
