/**
 * The system calls that V8, Deno and libc make in any process of ours, whatever it is for, and why.
 *
 * They were found by watching processes. What V8 and Deno make depends on their versions; the tests run every kind of process under filters
 * made of this.
 *
 * @module
 */
import { NEVER, oneOf, type TableEntry } from "./call_table.ts";

/** asm-generic/mman-common.h */
const PROT_EXEC = 4;
const MAP_ANONYMOUS = 0x20;
/** linux/sched.h */
const CLONE_THREAD = 0x10000;

/** linux/prctl.h */
const PR_SET_NAME = 15;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_VMA = 0x53564d41;

/** asm-generic/ioctls.h */
const FIONBIO = 0x5421;

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

/** asm-generic/socket.h: SO_TYPE, SO_ACCEPTCONN, SO_DOMAIN */
const SOL_SOCKET = 1;
const SOCKET_KINDS: readonly number[] = [3, 30, 39];

/** prlimit(2): this process, and no limit that would be set. Another's limit of CPU time, set to nothing, would kill it. */
const OWN_LIMITS_READ = [
  [{ index: 0, equals: 0 }, { index: 2, equals: 0 }, { index: 2, half: "upper", equals: 0 }],
] as const;

/** Memory without code, or code that is made here: JIT compilers write theirs into anonymous memory. */
const NOT_CODE_OF_FILES = [
  [{ index: 3, mask: MAP_ANONYMOUS, equals: MAP_ANONYMOUS }],
  [{ index: 2, mask: PROT_EXEC, equals: 0 }],
];

/** What goes on for as long as a process lives. */
export const RUNTIME_CALLS: readonly TableEntry[] = [
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
    reason: "locks of V8, Deno and libc; who sleeps on memory of a ring is woken by it",
  },
  {
    calls: ["read", "write", "readv", "writev", "close", "poll"],
    later: "allowed",
    reason: "eventfds (interrupts, doorbells, wake-ups of Deno's threads), standard error, whatever is open",
  },
  { calls: ["sendmsg", "recvmsg", "shutdown"], later: "allowed", reason: "links, and QMP" },
  { calls: ["sendto", "recvfrom"], later: "allowed", reason: "Deno's own socket, which tells it of signals" },
  { calls: ["accept4"], later: "allowed", reason: "clients, where a listening socket was opened before" },
  {
    calls: ["epoll_wait", "epoll_pwait", "epoll_ctl", "epoll_create1"],
    later: "allowed",
    reason: "our loops, and that of each of Deno's threads; a ring's doorbell is an epoll instance of its proxy's",
  },
  { calls: ["eventfd2"], later: "allowed", reason: "whether a descriptor is an eventfd is told by making one" },
  { calls: ["timerfd_create", "timerfd_settime"], later: "allowed", reason: "our loops' timers, and QMP's" },
  {
    calls: ["memfd_create", "ftruncate"],
    later: "allowed",
    reason: "our system calls' code (start); memory to be shared; images that grow",
  },
  {
    calls: ["fcntl"],
    later: "allowed",
    when: oneOf(1, FCNTL),
    reason: "status flags, seals of shared memory, spare descriptors",
  },
  { calls: ["ioctl"], later: "allowed", when: oneOf(1, [FIONBIO]), reason: "non-blocking sockets of Deno's" },
  {
    calls: ["getsockopt"],
    later: "allowed",
    when: SOCKET_KINDS.map((option) => [{ index: 1, equals: SOL_SOCKET }, { index: 2, equals: option }]),
    reason: "what kind of socket a descriptor is; no pidfd of the process at its other end (SO_PEERPIDFD)",
  },
  {
    calls: ["setsockopt"],
    later: "refused",
    when: NEVER,
    reason: "nothing needs it, and it could have messages bring pidfds of who sends them (SO_PASSPIDFD)",
  },
  { calls: ["fstat", "fstatfs"], later: "allowed", reason: "what a descriptor is that somebody sent" },
  {
    calls: ["clone"],
    later: "allowed",
    when: [[{ index: 0, mask: CLONE_THREAD, equals: CLONE_THREAD }]],
    reason: "threads of V8 and Deno",
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
    reason: "threads: how many there should be, how they are started, how they wait; on which processor one runs",
  },
  {
    calls: ["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"],
    later: "allowed",
    reason: "V8's and Rust's handlers of faults; abort(3)",
  },
  { calls: ["getpid", "gettid"], later: "allowed", reason: "libc's and V8's own bookkeeping, abort(3)" },
  { calls: ["exit", "exit_group"], later: "allowed", reason: "the end of a thread, and of the process" },
  {
    calls: ["clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep"],
    later: "allowed",
    reason: "time, where the kernel's vDSO does not know it; V8's threads",
  },
  { calls: ["getrandom"], later: "allowed", reason: "seeds of hash tables" },
  { calls: ["getrlimit"], later: "allowed", reason: "sizes of stacks, in older libcs" },
  {
    calls: ["getuid", "geteuid", "getgid", "getegid", "getppid", "getpgrp"],
    later: "allowed",
    reason: "who the process is, which it may know",
  },
  {
    calls: ["prlimit64"],
    later: "allowed",
    when: OWN_LIMITS_READ,
    reason: "sizes of stacks; how many descriptors there may be",
  },
];

/** What is over once a process and its threads have started, but is tried again now and then. */
export const START_CALLS: readonly TableEntry[] = [
  {
    calls: ["newfstatat", "stat", "lstat", "readlink", "readlinkat", "access", "faccessat", "faccessat2"],
    later: "refused",
    reason: "libraries, Deno's modules and its cache (start); libc and V8 look into /proc when memory grows",
  },
  {
    calls: ["getcwd", "getdents64", "uname", "sysinfo"],
    later: "refused",
    reason: "Deno's start, and that of its workers",
  },
  { calls: ["socketpair"], later: "refused", reason: "Deno's own socket, which tells it of signals" },
  { calls: ["dup", "pipe2"], later: "refused", reason: "Deno's start" },
  { calls: ["arch_prctl", "set_tid_address"], later: "fatal", reason: "the start of the program" },
];
