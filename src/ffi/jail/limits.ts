/**
 * Limits of what a process may take (getrlimit(2)).
 *
 * @module
 */
import { call, type ScriptCall } from "./child_script.ts";

/** Resources (asm-generic/resource.h). */
export const Resource = {
  FILE_SIZE: 1,
  CORE: 4,
  PROCESSES: 6,
  DESCRIPTORS: 7,
  LOCKED_MEMORY: 8,
  ADDRESS_SPACE: 9,
  PENDING_SIGNALS: 11,
  MESSAGE_QUEUES: 12,
} as const;

/** Limits by the name of their {@linkcode Resource}: bytes, or how many. */
export type Limits = Partial<Record<keyof typeof Resource, number>>;

/** asm/signal.h: what a write beyond {@linkcode Resource.FILE_SIZE} sends. */
const SIGXFSZ = 25;
/** struct kernel_sigaction: handler @0, SIG_IGN. */
const IGNORE = new Uint8Array(BigUint64Array.of(1n, 0n, 0n, 0n).buffer);
/** Bytes of the kernel's sigset_t. */
const SIGSET_SIZE = 8;

/** Makes a write beyond the largest size of a file an error (EFBIG), also for the program that is executed. */
export function ignoreLongFiles(): ScriptCall {
  return call("rt_sigaction", [SIGXFSZ, IGNORE, 0, SIGSET_SIZE], { of: "SIGXFSZ" });
}

/**
 * Sets limits, the soft and the hard ones alike, so that they cannot be raised again without CAP_SYS_RESOURCE. One that is lower already
 * stays: to raise it is what fails (EPERM), and nothing else can.
 */
export function limitResources(limits: Limits): ScriptCall[] {
  return Object.entries(limits).map(([name, limit]) => {
    const resource = Resource[name as keyof typeof Resource];
    const both = new Uint8Array(BigUint64Array.of(BigInt(limit), BigInt(limit)).buffer); // struct rlimit64: soft, hard
    return call("prlimit64", [0, resource, both, 0], { of: name, mayFail: true });
  });
}
