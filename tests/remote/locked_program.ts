/**
 * A program that does what it is told to, and prints what came of it.
 *
 *     locked_program.ts ACT free|plain|storage
 *
 * It is locked down before, if it is not `free`: with devices of no class of their own, or with disks.
 */
import { EventLoop } from "../../src/event_loop.ts";
import { listDirectory, openFile, OpenFlags, readAt, readFd, truncateFile } from "../../src/ffi/file.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { leaveProcessor } from "../../src/ffi/processor.ts";
import { cString, syscalls } from "../../src/ffi/syscall.ts";
import { lockDown } from "../../src/remote/lockdown.ts";

const AT_FDCWD = -100;
const [PROT_READ_EXEC, MAP_PRIVATE] = [5, 2];
const SIGABRT = 6;
/** linux/fcntl.h, linux/fs.h */
const [F_OFD_SETLK, BLKGETSIZE64] = [37, 0x80081272];

const memory = createMemoryFile("locked-program", 4096, false);
const open = openFile("/etc/passwd", OpenFlags.O_RDONLY);
const tasks = listDirectory("/proc/self/task");
const statuses = tasks.map((task) => openFile(`/proc/self/task/${task}/status`, OpenFlags.O_RDONLY));

/** Makes garbage, functions that get optimised, and a file longer. */
function work(): string {
  let kept: unknown[] = [];
  for (let i = 0; i < 300_000; i++) {
    kept.push({ i, text: `number ${i}` });
    if (kept.length > 20_000) kept = [];
  }
  truncateFile(memory, 8192);
  return "done";
}

function countFilters(): string {
  const bytes = new Uint8Array(8192);
  const counts = statuses.map((fd) => {
    const text = new TextDecoder().decode(bytes.slice(0, readFd(fd, bytes)));
    return /^Seccomp_filters:\s*(\d+)/m.exec(text)?.[1];
  });
  return counts.join(" ");
}

/** To the processors that it may use already. */
function moveParent(): number {
  const set = new Uint8Array(1024);
  const length = syscalls().sched_getaffinity(Deno.ppid, set.length, set);
  return syscalls().sched_setaffinity(Deno.ppid, length, set);
}

function exhaustHeap(): never {
  const kept: unknown[] = [];
  for (;;) kept.push(new Array(100_000).fill({}));
}

const ACTS: Readonly<Record<string, () => unknown>> = {
  "open a file": () => syscalls().openat(AT_FDCWD, cString("/etc/passwd"), 0, 0),
  "map code out of a file": () => syscalls().mmap(0n, 4096n, PROT_READ_EXEC, MAP_PRIVATE, memory, 0n),
  "set up io_uring": () => syscalls().io_uring_setup(4, new Uint8Array(120)),
  "look for a file": () => syscalls().readlinkat(AT_FDCWD, cString("/proc/self/exe"), new Uint8Array(999), 999),
  "read an image": () => readAt(open, 0, new Uint8Array(16)),
  "write to an image": () => syscalls().fallocate(memory, 0, 0n, 4096n),
  "lock an image": () => syscalls().fcntl(memory, F_OFD_SETLK, 0),
  "ask a disk for its size": () => syscalls().ioctl_value(memory, BLKGETSIZE64, 0),
  "enter io_uring": () => syscalls().io_uring_enter(memory, 0, 0, 0, null, 0),
  "duplicate anywhere": () => syscalls().dup3(open, 900, 0),
  "open a socket": () => syscalls().socket(1, 1, 0),
  "signal a thread of its parent": () => syscalls().tgkill(Deno.ppid, Deno.ppid, 0),
  "signal its parent": () => syscalls().kill(1, 0),
  "register with io_uring": () => syscalls().io_uring_register(memory, 0, new Uint8Array(1), 0),
  "open a process": () => syscalls().pidfd_open(syscalls().getpid(), 0),
  "delete a timer": () => syscalls().timer_delete(0),
  "start asynchronous I/O": () => syscalls().io_setup(1, new BigUint64Array(1)),
  "move its parent": moveParent,
  "move itself": leaveProcessor,
  "work": work,
  "count filters": countFilters,
  "throw": () => {
    throw new Error("what was thrown");
  },
  "exhaust the heap": exhaustHeap,
  "abort": () => syscalls().tgkill(syscalls().getpid(), syscalls().gettid(), SIGABRT),
};

const [name, mode] = Deno.args;
if (mode !== "free") lockDown(new EventLoop(), { classes: mode === "storage" ? ["storage"] : [], drives: [] });
const result = ACTS[name]();
Deno.stdout.writeSync(new TextEncoder().encode(`${result}\n`));
