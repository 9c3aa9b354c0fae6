/**
 * Sleeping on a word of memory that processes share (futex(2)).
 *
 * `Atomics.wait` does the same for a `SharedArrayBuffer`, whose threads are all of one process; it refuses mapped files.
 *
 * @module
 */
import { Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";

// Without FUTEX_PRIVATE_FLAG: the kernel finds the word by its file, so that another process's mapping is the same one.
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;

const timespec = new BigInt64Array(2);
const words = new Uint32Array(timespec.buffer);

/**
 * Sleeps while a word holds `expected`. The kernel compares and falls asleep in one step as seen by {@linkcode wakeFutex}: a change that is
 * followed by a wake-up is never slept through.
 *
 * It also returns after a signal, or for no reason at all; whoever waits looks at the word again.
 *
 * @param address Of an aligned word of 32 bits.
 * @param expected As a signed number.
 * @param timeout In nanoseconds.
 */
export function waitOnFutex(address: bigint, expected: number, timeout: number): void {
  const seconds = Math.floor(timeout / 1e9);
  words[0] = Math.min(seconds, 0xffffffff);
  words[2] = timeout - seconds * 1e9;
  const result = syscalls().futex_wait(address, FUTEX_WAIT, expected, timespec);
  if (result < 0 && result !== -Errno.EAGAIN && result !== -Errno.EINTR && result !== -Errno.ETIMEDOUT) {
    throw new SyscallError("futex(FUTEX_WAIT)", -result);
  }
}

/** Wakes one thread, of whichever process, that sleeps on the word. @returns how many it were, 0 or 1. */
export function wakeFutex(address: bigint): number {
  const result = syscalls().futex_wake(address, FUTEX_WAKE, 1);
  if (result < 0) throw new SyscallError("futex(FUTEX_WAKE)", -result);
  return result;
}
