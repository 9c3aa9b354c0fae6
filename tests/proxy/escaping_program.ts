/**
 * A program that tries, on command, to get out of a jail, and prints what the kernel answers.
 *
 *     escaping_program.ts ATTEMPT free|locked PARENT SOCKET
 *
 * `locked`: it gives up system calls before, as a device process does. PARENT is the number of the process that started it, outside.
 * SOCKET is where somebody listens.
 *
 * @module
 */
import { EventLoop } from "../../src/event_loop.ts";
import { SyscallError } from "../../src/ffi/errno.ts";
import { startScript } from "../../src/ffi/jail/child_script.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { cString } from "../../src/ffi/syscall.ts";
import { lockDown } from "../../src/remote/lockdown.ts";
import { prepareRawSyscalls, rawSyscall } from "../support/raw_syscall.ts";

const AT_FDCWD = -100;
const [PROT_READ, PROT_EXEC, MAP_PRIVATE] = [1, 4, 2];
const [AF_UNIX, AF_INET, SOCK_STREAM] = [1, 2, 1];
/** asm-generic/socket.h, for the socket that its output goes to. */
const [STDOUT, SOL_SOCKET, SO_PEERPIDFD] = [1, 1, 77];
/** linux/sched.h, linux/mount.h, linux/ptrace.h */
const CLONE_NEWNS = 0x20000;
const [MS_REC, MS_PRIVATE] = [0x4000, 0x40000];
/** Unlike PTRACE_ATTACH, it does not stop the process. */
const PTRACE_SEIZE = 0x4206;
/** One that nobody has set, in a struct rlimit64 that leaves it so. With RLIMIT_CPU and zeroes, it kills. */
const RLIMIT_RTTIME = 15;
const NO_LIMIT = new Uint8Array(16).fill(0xff);

const [attempt, mode, parentText, socketPath] = Deno.args;
const parent = Number(parentText);

prepareRawSyscalls();
const memory = createMemoryFile("escaping-program", 4096, false);
const socket = rawSyscall("socket", AF_UNIX, SOCK_STREAM, 0);

const open = (path: string) => rawSyscall("openat", AT_FDCWD, cString(path), 0, 0);

/** struct sockaddr_un */
function addressOfSocket(path: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([AF_UNIX, 0, ...new TextEncoder().encode(path), 0]);
}

/** In a mount namespace of its own, so that a host where it succeeds is left alone. */
function mount(): number {
  const unshared = rawSyscall("unshare", CLONE_NEWNS);
  if (unshared < 0) return unshared;
  const made = rawSyscall("mount", 0, cString("/"), 0, MS_REC | MS_PRIVATE, 0);
  return made < 0 ? made : rawSyscall("mount", cString("none"), cString("/mnt"), cString("tmpfs"), 0, 0);
}

function fork(): number {
  const { process } = startScript([]);
  process.wait();
  return process.pid;
}

const ATTEMPTS: Readonly<Record<string, () => number>> = {
  "open a file": () => open("/etc/passwd"),
  "look at its parent in /proc": () => open(`/proc/${parent}/environ`),
  "open a socket": () => rawSyscall("socket", AF_INET, SOCK_STREAM, 0),
  "connect": () => rawSyscall("connect", socket, addressOfSocket(socketPath), socketPath.length + 3),
  "fork": fork,
  "execute a program": () => rawSyscall("execve", cString("/bin/true"), 0, 0),
  "trace its parent": () => rawSyscall("ptrace", PTRACE_SEIZE, parent, 0, 0),
  "signal its parent": () => rawSyscall("kill", parent, 0),
  "signal a thread of its parent": () => rawSyscall("tgkill", parent, parent, 0),
  "look at its parent's limits": () => rawSyscall("prlimit64", parent, RLIMIT_RTTIME, 0, new Uint8Array(16)),
  "set its parent's limits": () => rawSyscall("prlimit64", parent, RLIMIT_RTTIME, NO_LIMIT, 0),
  "get hold of its parent": () => rawSyscall("pidfd_open", parent, 0),
  "get a pidfd of who has a socket's other end": () =>
    rawSyscall("getsockopt", STDOUT, SOL_SOCKET, SO_PEERPIDFD, new Uint8Array(4), Uint8Array.of(4, 0, 0, 0)),
  "mount": mount,
  "map code out of a file": () => rawSyscall("mmap", 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, memory, 0),
  "set up io_uring": () => rawSyscall("io_uring_setup", 4, new Uint8Array(120)),
  "become root": () => rawSyscall("setresuid", 0, 0, 0),
  "signal itself": () => rawSyscall("tgkill", rawSyscall("getpid"), rawSyscall("gettid"), 0),
  "live on": () => rawSyscall("getpid"),
};

if (mode === "locked") lockDown(new EventLoop(), { classes: ["storage"], drives: [] });
let result;
try {
  result = ATTEMPTS[attempt]();
} catch (error) {
  if (!(error instanceof SyscallError)) throw error;
  result = -error.errno;
}
Deno.stdout.writeSync(new TextEncoder().encode(`${result}\n`));
