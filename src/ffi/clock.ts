/**
 * The monotonic clock, the same for all threads and processes of the host (unlike `performance.now()`, whose origin is
 * each thread's own).
 *
 * @module
 */

const VDSO_CLOCK = {
  // int clock_gettime(clockid_t clockid, struct timespec *tp)
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const CLOCK_MONOTONIC = 1;

const timespec = new BigInt64Array(2);
const words = new Uint32Array(timespec.buffer);
let clockGettime: ((clock: number, into: BufferSource) => number) | undefined;

/** Nanoseconds of CLOCK_MONOTONIC: a safe integer for the first 104 days of host uptime, then rounded to 2 ns. */
export function monotonicNow(): number {
  // libc's function rather than a system-call stub: it reads the vDSO, and cannot fail for this clock.
  clockGettime ??= Deno.dlopen("libc.so.6", VDSO_CLOCK).symbols.clock_gettime;
  clockGettime(CLOCK_MONOTONIC, timespec);
  return (words[0] + words[1] * 0x100000000) * 1e9 + words[2];
}
