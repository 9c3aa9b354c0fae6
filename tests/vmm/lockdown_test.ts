/** What the process of a virtual machine can do once it is locked down, tried on each kind of thread that it has, beside one that is not. */
import { assert, assertEquals } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { type ExitStatus, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { SELF_ENVIRONMENT } from "../../src/vmm/self_command.ts";
import { readAll } from "../support/child.ts";
import { leakingNothing } from "../support/leaks.ts";
import type { Outcome, RawCall, Task, ThreadName } from "./locked_program.ts";

const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const PROGRAM = new URL("./locked_program.ts", import.meta.url).pathname;
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;

const EPERM = -1;
const SIGSYS = 31;
const THREADS: readonly ThreadName[] = ["main", "worker", "pool"];

const AT_FDCWD = -100;
const O_WRONLY_CREAT = 0o101;
const NO_FD = -1;
const PARENT = Deno.pid;
const [SIGTERM, SIGCHLD] = [15, 17];
const CLONE_SIGHAND = 0x800;
const PTRACE_SEIZE = 0x4206;
const TIOCSTI = 0x5412;
const KVM_CREATE_VM = 0xae01;
const PR_SET_DUMPABLE = 4;
const [P_ALL, WEXITED] = [0, 4];
/** asm-generic/socket.h, for the socket that its output goes to. */
const [STDOUT, SOL_SOCKET, SO_PEERCRED, SO_PASSPIDFD, SO_PEERPIDFD] = [1, 1, 17, 76, 77];
const [INT_ZERO, INT_ONE, INT_SIZE] = [[0, 0, 0, 0], [1, 0, 0, 0], [4, 0, 0, 0]];
/** One that nobody has set, in a struct rlimit64 that leaves it so: RLIM_INFINITY twice. With RLIMIT_CPU and zeroes, it kills. */
const RLIMIT_RTTIME = 15;
const NO_LIMIT: readonly number[] = new Array(16).fill(0xff);

/** Answered with EPERM: what V8, Deno and libc try and put up with, and calls that are made for other purposes. */
const REFUSED: Readonly<Record<string, RawCall>> = {
  "open a file": ["openat", AT_FDCWD, "/etc/passwd"],
  "make a file": ["openat", AT_FDCWD, `/tmp/splitvm-locked-${PARENT}`, O_WRONLY_CREAT, 0o600],
  "look for a file": ["newfstatat", AT_FDCWD, "/etc/passwd", "x".repeat(200)],
  "remove a file": ["unlinkat", AT_FDCWD, "/nowhere/at/all"],
  "fork": ["clone", SIGCHLD | CLONE_SIGHAND],
  "signal its parent": ["kill", PARENT],
  "signal everybody": ["kill", -1],
  "signal a thread of its parent": ["tgkill", PARENT, PARENT],
  "look at its parent's limits": ["prlimit64", PARENT, RLIMIT_RTTIME],
  "set its parent's limits": ["prlimit64", PARENT, RLIMIT_RTTIME, NO_LIMIT],
  "set its own limits": ["prlimit64", 0, RLIMIT_RTTIME, NO_LIMIT],
  "get a pidfd of who has a socket's other end": ["getsockopt", STDOUT, SOL_SOCKET, SO_PEERPIDFD, INT_ZERO, INT_SIZE],
  "have pidfds sent to it": ["setsockopt", STDOUT, SOL_SOCKET, SO_PASSPIDFD, INT_ONE, 4],
  "look who has a socket's other end": ["getsockopt", STDOUT, SOL_SOCKET, SO_PEERCRED, NO_LIMIT, [12, 0, 0, 0]],
  "signal a process gently": ["pidfd_send_signal", NO_FD, SIGTERM],
  "wait for whatever child": ["waitid", P_ALL, 0, 0, WEXITED],
  "type at its terminal": ["ioctl", NO_FD, TIOCSTI],
  "make another virtual machine": ["ioctl", NO_FD, KVM_CREATE_VM],
  "have itself dumped": ["prctl", PR_SET_DUMPABLE, 1],
};

/** Nothing in a virtual machine does these. */
const FATAL: Readonly<Record<string, RawCall>> = {
  "execute a program": ["execve", "/nowhere"],
  "execute a file that is open": ["execveat", NO_FD, ""],
  "open a socket": ["socket", 1, 1],
  "connect": ["connect", NO_FD],
  "bind": ["bind", NO_FD],
  "listen": ["listen", NO_FD],
  "trace a process": ["ptrace", PTRACE_SEIZE, -5],
  "read its parent's memory": ["process_vm_readv", PARENT],
  "write its parent's memory": ["process_vm_writev", PARENT],
  "open its parent": ["pidfd_open", PARENT],
  "take its parent's descriptors": ["pidfd_getfd", NO_FD],
  "make namespaces": ["unshare", 0],
  "change its identity": ["setresuid", -1, -1, -1],
  "set up io_uring": ["io_uring_setup", 0],
  "start asynchronous I/O": ["io_setup", 0, 0],
  "filter system calls": ["seccomp", 9],
  "change folders": ["chdir", "/nowhere"],
  "set a timer": ["timer_create", 99],
};

/** Runs the program. */
function carryOut(task: Task): { text: string; status: ExitStatus } {
  const [ours, theirs] = createSocketPair();
  const process = spawn({
    command: [
      ...[Deno.execPath(), "run", "--quiet", "--allow-ffi", "--allow-read", "--no-prompt", "--no-code-cache"],
      ...[`--config=${CONFIG}`, PROGRAM, JSON.stringify(task)],
    ],
    env: { ...SELF_ENVIRONMENT, NO_COLOR: "1", HOME: "/nowhere", DENO_DIR: CACHE },
    descriptors: new Map([[0, null], [1, theirs], [2, theirs]]),
  });
  closeFd(theirs);
  const text = readAll(ours).trimEnd();
  const status = process.wait();
  process.close();
  closeFd(ours);
  return { text, status };
}

function outcomeOf(task: Task): Outcome {
  const { text, status } = carryOut(task);
  assertEquals(status, { code: 0 }, text);
  return JSON.parse(text);
}

/** By name, what one of several calls has returned. */
function byName(names: readonly string[], results: readonly number[] | undefined): Record<string, number> {
  return Object.fromEntries(names.map((name, i) => [name, results![i]]));
}

Deno.test(
  "a machine that runs can open, make and signal nothing on any of its threads, and lives on",
  leakingNothing(() => {
    const names = Object.keys(REFUSED);
    const calls = Object.values(REFUSED);
    const { results, filters } = outcomeOf({ steps: 2, threads: THREADS, calls });
    const refused = Object.fromEntries(names.map((name) => [name, EPERM]));
    for (const thread of THREADS) assertEquals(byName(names, results[thread]), refused, thread);
    assert(filters.length >= 4, "V8 and Deno have threads of their own");
    assertEquals(new Set(filters), new Set([2]));
  }),
);

Deno.test("without the filter, the same calls reach the kernel", () => {
  // One that signals everybody would.
  const all = Object.entries({ ...REFUSED, ...FATAL }).filter(([name]) => name !== "signal everybody");
  const { results, filters } = outcomeOf({ steps: 0, threads: ["main"], calls: all.map(([, call]) => call) });
  assertEquals(all.filter((_, i) => results.main![i] === EPERM).map(([name]) => name), []);
  assertEquals(new Set(filters), new Set([0]));
  Deno.removeSync(`/tmp/splitvm-locked-${PARENT}`);
});

for (const [i, [name, call]] of Object.entries(FATAL).entries()) {
  const thread = THREADS[i % THREADS.length];
  Deno.test(
    `a machine that runs and tries to ${name} on its ${thread} thread is ended`,
    leakingNothing(() => {
      const { text, status } = carryOut({ steps: 2, threads: [thread], calls: [call] });
      assertEquals([text, status], ["", { signal: SIGSYS }]);
    }),
  );
}

Deno.test("a machine whose threads start reads files, and neither executes nor writes, connects nor signals", () => {
  const denied = [
    ...["make a file", "fork", "signal its parent", "set its parent's limits", "have itself dumped", "remove a file"],
    ...["get a pidfd of who has a socket's other end", "have pidfds sent to it"],
  ];
  const never = [
    "execute a program",
    "open a socket",
    "connect",
    "bind",
    "trace a process",
    "open its parent",
    "set up io_uring",
  ];
  const calls = [...denied.map((name) => REFUSED[name]), ...never.map((name) => FATAL[name]), REFUSED["open a file"]];
  const { results, filters } = outcomeOf({ steps: 1, threads: THREADS, calls });
  for (const thread of THREADS) {
    const [opened, ...rest] = results[thread]!.toReversed();
    assert(opened > 2, `${opened}`);
    assertEquals(new Set(rest), new Set([EPERM]));
  }
  assertEquals(new Set(filters), new Set([1]));
});

Deno.test("on a host without filters a machine says so in one line, and goes on without", () => {
  const { results, filters, said } = outcomeOf({
    ...{ steps: 1, withoutFilters: true },
    threads: ["main"],
    calls: [REFUSED["open a file"], FATAL["change its identity"]],
  });
  assertEquals(said, ["system calls are not restricted: seccomp(SECCOMP_SET_MODE_FILTER): ENOSYS"]);
  assertEquals(results.main!.map((result) => result >= 0), [true, true]);
  assertEquals(new Set(filters), new Set([1]));
});
