/**
 * Moving the calling thread to another processor.
 *
 * @module
 */
import { Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";

/** For so many processors there is room in a set; the kernel refuses to tell on hosts that may have more. */
const PROCESSORS = 1024;

const allowed = new Uint8Array(PROCESSORS / 8);
const current = new Uint32Array(1);

/**
 * Has the calling thread go on on another one of the processors that it may use, whichever the kernel chooses. It may be moved again at any
 * time. The set that it may use is its own from then on, and does not grow with that of its cgroup; a change of it from outside at the same
 * moment is lost.
 *
 * @returns false when there is no other, or none can be had.
 */
export function leaveProcessor(): boolean {
  const { sched_getaffinity, sched_setaffinity, getcpu } = syscalls();
  const length = sched_getaffinity(0, allowed.length, allowed);
  if (length < 0) return refused("sched_getaffinity", length);
  const got = getcpu(current, null, null);
  if (got < 0) return refused("getcpu", got);
  const set = allowed.subarray(0, length);
  const [at, bit] = [current[0] >>> 3, 1 << (current[0] & 7)];
  if (set.every((byte, i) => (i === at ? byte & ~bit : byte) === 0)) return false;
  set[at] &= ~bit;
  const moved = sched_setaffinity(0, length, set);
  if (moved < 0) return refused("sched_setaffinity", moved);
  set[at] |= bit;
  // When that fails, since the set has just been changed from outside, the thread stays within the one that it has.
  sched_setaffinity(0, length, set);
  return true;
}

/** What sandboxes, and hosts that change at the moment, may answer. */
function refused(call: string, result: number): false {
  if (![-Errno.EPERM, -Errno.EINVAL, -Errno.ENOSYS].includes(result)) throw new SyscallError(call, -result);
  return false;
}
