/**
 * The system calls of a device process: those that it makes while it starts, those that it goes on to make, and why.
 *
 * Every device process makes some; more are made by one class of devices only, and a process has those of the classes that it serves.
 *
 * They were found by watching device processes with raw and qcow2 images, each of the I/O engines, both wires, control sockets, and every
 * kind of end.
 *
 * @module
 */
import { DENIED, oneOf, rulesAtStart, rulesInService, type TableEntry } from "./call_table.ts";
import { RUNTIME_CALLS, START_CALLS } from "./runtime_calls.ts";
import type { Filter, FilterRule } from "./seccomp.ts";

/** What devices have in common that other devices do without. `storage`: images, in files and on block devices of the host. */
export type DeviceClass = "storage";

/** linux/fcntl.h: of a descriptor. A path may be given all the same, and be looked for in a root that is empty. */
const AT_EMPTY_PATH = 0x1000;

/** sched_setaffinity(2) */
const CALLING_THREAD = 0;

/** linux/prctl.h */
const PR_SET_PDEATHSIG = 1;

/** linux/fcntl.h */
const LOCKS = { F_OFD_GETLK: 36, F_OFD_SETLK: 37 } as const;

/** linux/fs.h: sector size, discarding, zeroing, size. */
const BLOCK_DEVICE = { BLKSSZGET: 0x1268, BLKDISCARD: 0x1277, BLKZEROOUT: 0x127f, BLKGETSIZE64: 0x80081272 } as const;

/** What every device process makes. */
const COMMON_CALLS: readonly TableEntry[] = [
  ...RUNTIME_CALLS,
  ...START_CALLS,
  {
    calls: ["sched_setaffinity"],
    later: "allowed",
    when: [[{ index: 0, equals: CALLING_THREAD }]],
    reason:
      "a ring is served from another processor than its vCPU's, or each access costs a sleep. What this gives away is the choice " +
      "among the processors of the cgroup (cpuset), of whose time a thread has no more by it",
  },
  {
    calls: ["openat", "open"],
    later: "refused",
    reason: "libraries, Deno's modules and its cache (start); libc and V8 look into /proc when memory grows",
  },
  { calls: ["mkdir", "unlink", "unlinkat", "fsync", "dup3"], later: "refused", reason: "Deno's start" },
  { calls: ["execve"], later: "fatal", reason: "the start of the program" },
];

/**
 * What takes the process's own number.
 *
 * @param pid As the process has it, in its pid namespace if it has one.
 */
function ownCalls(pid: number): TableEntry[] {
  return [{
    calls: ["tgkill"],
    later: "allowed",
    when: [[{ index: 0, equals: pid }]],
    reason:
      "abort(3); without a pid namespace other processes could be named, and without an id of its own be signalled",
  }];
}

/** What the devices of a class make besides. */
const CLASS_CALLS: Readonly<Record<DeviceClass, readonly TableEntry[]>> = {
  storage: [
    {
      calls: ["pread64", "pwrite64", "preadv2", "pwritev2", "fdatasync", "fallocate", "lseek"],
      later: "allowed",
      reason: "reads and writes that need no waiting, and all requests of the engine of threads",
    },
    {
      calls: ["statx"],
      later: "allowed",
      when: [[{ index: 2, mask: AT_EMPTY_PATH, equals: AT_EMPTY_PATH }]],
      reason: "what direct I/O asks of requests",
    },
    {
      calls: ["io_uring_setup"],
      later: "refused",
      reason: "the engine; another than the one there is not to be had",
    },
    { calls: ["io_uring_register"], later: "fatal", reason: "the engine's start" },
    { calls: ["io_uring_enter"], later: "allowed", reason: "the engine, on a ring that is restricted" },
    { calls: ["fcntl"], later: "allowed", when: oneOf(1, LOCKS), reason: "locks of images" },
    { calls: ["ioctl"], later: "allowed", when: oneOf(1, BLOCK_DEVICE), reason: "images on block devices" },
  ],
};

/**
 * What a device process may do from its first instruction on, whatever its class. Nothing of it depends on a guest, an image or a proxy
 * until it is locked down, so this is a wall for later mistakes: what is not in the table fails with EPERM.
 */
export function startFilter(): Filter {
  const libraries: FilterRule[] = [{ call: "mmap", verdict: "allow" }, { call: "statx", verdict: "allow" }];
  const lifetime: FilterRule = { call: "prctl", when: [{ index: 0, equals: PR_SET_PDEATHSIG }], verdict: "allow" };
  const filtering: FilterRule = { call: "seccomp", verdict: "allow" };
  // The process has no number yet.
  const aborting: FilterRule = { call: "tgkill", verdict: "allow" };
  const table = [...COMMON_CALLS, ...Object.values(CLASS_CALLS).flat()];
  return { rules: [...libraries, lifetime, filtering, aborting, ...rulesAtStart(table)], otherwise: DENIED };
}

/**
 * What a device process may do once it serves: it opens, executes and connects to nothing; what is not in the table ends it.
 *
 * @param classes Of all the devices that it serves.
 * @param pid Its own, as it has it itself.
 */
export function serviceFilter(classes: readonly DeviceClass[], pid: number): Filter {
  const table = [...COMMON_CALLS, ...ownCalls(pid), ...[...new Set(classes)].flatMap((name) => CLASS_CALLS[name])];
  return { rules: rulesInService(table), otherwise: "kill" };
}
