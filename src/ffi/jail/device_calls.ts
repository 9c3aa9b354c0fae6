/**
 * The system calls of a device process: those that it makes while it starts, those that it goes on to make, and why.
 *
 * Every device process makes some; more are made by one class of devices only, and a process has those of the classes that it serves.
 *
 * They were found by watching device processes with raw and qcow2 images, each of the I/O engines, both wires, control sockets, and every
 * kind of end. What V8 and Deno make depends on their versions; the tests run device processes under these filters.
 *
 * @module
 */
import { Errno } from "../errno.ts";
import type { CallName } from "./call_numbers.ts";
import type { ArgumentTest, Filter, FilterRule } from "./seccomp.ts";

/** What becomes of a call once the process is locked down. */
type Later =
  /** It is made as before. */
  | "allowed"
  /** It is answered with EPERM, without harm: something that V8, Deno or libc try and do without, or report. */
  | "refused"
  /** It ends the process. */
  | "fatal";

/** What devices have in common that other devices do without. `storage`: images, in files and on block devices of the host. */
export type DeviceClass = "storage";

/** A call that is made, why, and under which conditions: one test list has to hold. */
interface DeviceCall {
  /** Whose it is. @default {every device process's} */
  readonly by?: DeviceClass;
  readonly calls: readonly CallName[];
  readonly later: Later;
  readonly reason: string;
  /** @default {under any} */
  readonly when?: readonly (readonly ArgumentTest[])[];
}

/** asm-generic/mman-common.h */
const PROT_EXEC = 4;
const MAP_ANONYMOUS = 0x20;
/** linux/fcntl.h: of a descriptor. A path may be given all the same, and be looked for in a root that is empty. */
const AT_EMPTY_PATH = 0x1000;
/** linux/sched.h */
const CLONE_THREAD = 0x10000;

/** sched_setaffinity(2) */
const CALLING_THREAD = 0;

/** linux/prctl.h */
const PR_SET_PDEATHSIG = 1;
const PR_SET_NAME = 15;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_VMA = 0x53564d41;

/** linux/fcntl.h */
const FCNTL = {
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_DUPFD_CLOEXEC: 1030,
  F_ADD_SEALS: 1033,
  F_GET_SEALS: 1034,
} as const;
const LOCKS = { F_OFD_GETLK: 36, F_OFD_SETLK: 37 } as const;

/** asm-generic/ioctls.h */
const FIONBIO = 0x5421;

/** linux/fs.h: sector size, discarding, zeroing, size. */
const BLOCK_DEVICE = { BLKSSZGET: 0x1268, BLKDISCARD: 0x1277, BLKZEROOUT: 0x127f, BLKGETSIZE64: 0x80081272 } as const;

const oneOf = (index: number, values: Readonly<Record<string, number>> | readonly number[]) =>
  Object.values(values).map((equals) => [{ index, equals }]);

/** Memory without code, or code that is made here: JIT compilers write theirs into anonymous memory. */
const NOT_CODE_OF_FILES = [
  [{ index: 3, mask: MAP_ANONYMOUS, equals: MAP_ANONYMOUS }],
  [{ index: 2, mask: PROT_EXEC, equals: 0 }],
];

const DEVICE_CALLS: readonly DeviceCall[] = [
  {
    calls: ["mmap"],
    later: "allowed",
    when: NOT_CODE_OF_FILES,
    reason: "V8's heap, malloc, stacks; guest RAM and rings, which are files",
  },
  {
    calls: ["munmap", "mprotect", "madvise", "mremap", "brk"],
    later: "allowed",
    reason: "V8's heap and code, malloc, stacks of threads",
  },
  { calls: ["mincore"], later: "refused", reason: "V8 looks for the end of a stack" },
  {
    calls: ["pkey_alloc", "pkey_mprotect", "pkey_free"],
    later: "allowed",
    reason: "V8 protects its code from its own threads where the processor has keys",
  },
  {
    calls: ["futex"],
    later: "allowed",
    reason: "locks of V8, Deno and libc; a ring's producer, which sleeps on memory that it shares, is woken by it",
  },
  {
    calls: ["read", "write", "readv", "writev", "close", "poll"],
    later: "allowed",
    reason:
      "eventfds (interrupts, doorbells, wake-ups of Deno's threads), standard error, descriptors that a proxy sent",
  },
  { calls: ["sendmsg", "recvmsg", "shutdown"], later: "allowed", reason: "the link, and QMP" },
  { calls: ["sendto", "recvfrom"], later: "allowed", reason: "Deno's own socket, which tells it of signals" },
  { calls: ["accept4"], later: "allowed", reason: "QMP clients, where a listening socket was opened before" },
  { calls: ["getsockopt"], later: "allowed", reason: "what kind of socket a descriptor is; who is on its other end" },
  {
    calls: ["epoll_wait", "epoll_pwait", "epoll_ctl", "epoll_create1"],
    later: "allowed",
    reason: "our loop, and that of each of Deno's threads; a ring's doorbell is an epoll instance of its proxy's",
  },
  { calls: ["eventfd2"], later: "allowed", reason: "whether a descriptor is an eventfd is told by making one" },
  { calls: ["timerfd_create", "timerfd_settime"], later: "allowed", reason: "our loop's timer, and QMP's" },
  {
    by: "storage",
    calls: ["pread64", "pwrite64", "preadv2", "pwritev2", "fdatasync", "fallocate", "lseek"],
    later: "allowed",
    reason: "reads and writes that need no waiting, and all requests of the engine of threads",
  },
  {
    by: "storage",
    calls: ["statx"],
    later: "allowed",
    when: [[{ index: 2, mask: AT_EMPTY_PATH, equals: AT_EMPTY_PATH }]],
    reason: "what direct I/O asks of requests",
  },
  {
    by: "storage",
    calls: ["io_uring_setup"],
    later: "refused",
    reason: "the engine; another than the one there is not to be had",
  },
  { by: "storage", calls: ["io_uring_register"], later: "fatal", reason: "the engine's start" },
  { by: "storage", calls: ["io_uring_enter"], later: "allowed", reason: "the engine, on a ring that is restricted" },
  { by: "storage", calls: ["fcntl"], later: "allowed", when: oneOf(1, LOCKS), reason: "locks of images" },
  {
    by: "storage",
    calls: ["ioctl"],
    later: "allowed",
    when: oneOf(1, BLOCK_DEVICE),
    reason: "images on block devices",
  },
  {
    calls: ["memfd_create", "ftruncate"],
    later: "allowed",
    reason: "our system calls' code (start); the registers' shadow; images that grow",
  },
  { calls: ["fstat", "fstatfs"], later: "allowed", reason: "what a descriptor is that a proxy sent" },
  {
    calls: ["fcntl"],
    later: "allowed",
    when: oneOf(1, FCNTL),
    reason: "status flags, seals of shared memory, spare descriptors",
  },
  {
    calls: ["ioctl"],
    later: "allowed",
    when: oneOf(1, [FIONBIO]),
    reason: "non-blocking sockets of Deno's",
  },
  {
    calls: ["clone"],
    later: "allowed",
    when: [[{ index: 0, mask: CLONE_THREAD, equals: CLONE_THREAD }]],
    reason: "threads of V8, Deno and the engine of threads",
  },
  { calls: ["set_robust_list", "rseq"], later: "allowed", reason: "libc, in each new thread" },
  {
    calls: ["prctl"],
    later: "allowed",
    when: oneOf(0, [PR_SET_NAME, PR_SET_VMA, PR_SET_NO_NEW_PRIVS]),
    reason: "names of threads and of memory",
  },
  {
    calls: ["sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "getcpu", "membarrier"],
    later: "allowed",
    reason:
      "threads: how many there should be, how they are started, how they wait; on which processor a ring is served",
  },
  {
    calls: ["sched_setaffinity"],
    later: "allowed",
    when: [[{ index: 0, equals: CALLING_THREAD }]],
    reason:
      "a ring is served from another processor than its vCPU's, or each access costs a sleep. What this gives away is the choice " +
      "among the processors of the cgroup (cpuset), of whose time a thread has no more by it",
  },
  {
    calls: ["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"],
    later: "allowed",
    reason: "V8's and Rust's handlers of faults; abort(3)",
  },
  { calls: ["getpid", "gettid"], later: "allowed", reason: "libc's and V8's own bookkeeping, abort(3)" },
  { calls: ["tgkill"], later: "allowed", reason: "abort(3); other processes cannot be named in a pid namespace" },
  { calls: ["exit", "exit_group"], later: "allowed", reason: "the end of a thread, and of the process" },
  {
    calls: ["clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep"],
    later: "allowed",
    reason: "time, where the kernel's vDSO does not know it; V8's threads",
  },
  { calls: ["getrandom"], later: "allowed", reason: "seeds of hash tables" },
  { calls: ["prlimit64", "getrlimit"], later: "allowed", reason: "sizes of stacks; the hard limits are set already" },
  {
    calls: ["getuid", "geteuid", "getgid", "getegid", "getppid", "getpgrp"],
    later: "allowed",
    reason: "who the process is, which it may know",
  },
  {
    calls: [
      "openat",
      "open",
      "newfstatat",
      "stat",
      "lstat",
      "readlink",
      "readlinkat",
      "access",
      "faccessat",
      "faccessat2",
    ],
    later: "refused",
    reason: "libraries, Deno's modules and its cache (start); libc and V8 look into /proc when memory grows",
  },
  {
    calls: ["getcwd", "getdents64", "mkdir", "unlink", "unlinkat", "uname", "sysinfo", "fsync"],
    later: "refused",
    reason: "Deno's start, and that of its workers",
  },
  { calls: ["socketpair", "setsockopt"], later: "refused", reason: "Deno's own socket, which tells it of signals" },
  { calls: ["dup", "dup3", "pipe2"], later: "refused", reason: "Deno's start" },
  { calls: ["execve", "arch_prctl", "set_tid_address"], later: "fatal", reason: "the start of the program" },
];

const DENIED = { errno: Errno.EPERM } as const;

/** Older libcs know clone(2) only, whose flags can be looked at; newer ones fall back to it. */
const NO_CLONE3: FilterRule = { call: "clone3", verdict: { errno: Errno.ENOSYS } };

/** What lets the calls of these entries through. */
function allowing(entries: readonly DeviceCall[]): FilterRule[] {
  return entries.flatMap(({ calls, when = [[]] }) =>
    calls.flatMap((call) => when.map((tests): FilterRule => ({ call, when: tests, verdict: "allow" })))
  );
}

/** What answers these entries' calls, each once; what is behind an allowing rule without conditions would never apply. */
function denying(entries: readonly DeviceCall[]): FilterRule[] {
  const calls = new Set(entries.flatMap(({ calls }) => calls));
  return [...calls].map((call) => ({ call, verdict: DENIED }));
}

const isConditional = ({ when }: DeviceCall) => when !== undefined;

/**
 * What a device process may do from its first instruction on, whatever its class. Nothing of it depends on a guest, an image or a proxy
 * until it is locked down, so this is a wall for later mistakes: what is not in the table fails with EPERM.
 */
export function startFilter(): Filter {
  const libraries: FilterRule[] = [{ call: "mmap", verdict: "allow" }, { call: "statx", verdict: "allow" }];
  const lifetime: FilterRule = { call: "prctl", when: [{ index: 0, equals: PR_SET_PDEATHSIG }], verdict: "allow" };
  const filtering: FilterRule = { call: "seccomp", verdict: "allow" };
  return { rules: [...libraries, lifetime, filtering, NO_CLONE3, ...allowing(DEVICE_CALLS)], otherwise: DENIED };
}

/**
 * What a device process may do once it serves: it opens, executes and connects to nothing; what is not in the table ends it.
 *
 * @param classes Of all the devices that it serves.
 */
export function serviceFilter(classes: readonly DeviceClass[]): Filter {
  const entries = DEVICE_CALLS.filter(({ by }) => by === undefined || classes.includes(by));
  const allowed = entries.filter(({ later }) => later === "allowed");
  const refused = entries.filter((entry) =>
    entry.later === "refused" || entry.later === "allowed" && isConditional(entry)
  );
  return { rules: [...allowing(allowed), ...denying(refused), NO_CLONE3], otherwise: "kill" };
}
