/**
 * Which threads and child processes there are (proc(5)).
 *
 * @module
 */
import { checked } from "../../src/ffi/errno.ts";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, listDirectory, openFile, OpenFlags, readFd, readLink } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { syscalls } from "../../src/ffi/syscall.ts";

const PR_SET_CHILD_SUBREAPER = 36;
const P_PIDFD = 3;
const WEXITED = 4;

/** The text of a file below /proc, for which Deno's own functions would need every permission. Empty when it is not there. */
export function readProc(path: string): string {
  let fd: number;
  try {
    fd = openFile(path, OpenFlags.O_RDONLY);
  } catch {
    return "";
  }
  try {
    const piece = new Uint8Array(4096);
    let text = "";
    for (let length; (length = readFd(fd, piece)) > 0;) text += new TextDecoder().decode(piece.subarray(0, length));
    return text;
  } catch {
    return ""; // ESRCH: the process ended meanwhile
  } finally {
    closeFd(fd);
  }
}

/** The ids of a process's threads. */
export function threadsOf(pid: number | "self"): number[] {
  try {
    return listDirectory(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

/** The ids of a process's children, those that ended and are not reaped included. */
export function childrenOf(pid: number | "self"): number[] {
  return threadsOf(pid)
    .flatMap((thread) => readProc(`/proc/${pid}/task/${thread}/children`).split(" "))
    .filter((text) => text.trim() !== "")
    .map(Number);
}

/** The descriptors that a process has open. */
export function descriptorsOf(pid: number): number[] {
  return listDirectory(`/proc/${pid}/fd`).map(Number);
}

/** In /proc/net/tcp: the state TCP_LISTEN (net/tcp_states.h), and the socket's inode at the end. */
const LISTENING = /^\s*\d+: \S+ \S+ 0A \S+ \S+ \S+\s+\d+\s+\d+ (\d+)/gm;

/** Whether a process listens at a TCP port. */
export function listensAtPort(pid: number): boolean {
  const own = new Set(descriptorsOf(pid).map((fd) => socketInode(`/proc/${pid}/fd/${fd}`)));
  const tables = ["tcp", "tcp6"].map((name) => readProc(`/proc/${pid}/net/${name}`)).join("");
  return [...tables.matchAll(LISTENING)].some(([, inode]) => own.has(inode));
}

/** `undefined` for a descriptor of something else, or one that was closed meanwhile. */
function socketInode(path: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readLink(path))?.[1];
  } catch {
    return undefined;
  }
}

/**
 * Waits until a process is in a state, a letter: `T` for one that is stopped, `undefined` when there is none any more.
 *
 * @param process Its id, which may come later.
 */
export function waitForState(process: () => number, letter: string | undefined, patience = 60_000): void {
  const deadline = performance.now() + patience;
  for (;;) {
    const pid = process();
    const state = /^State:\s+(\w)/m.exec(readProc(`/proc/${pid}/status`))?.[1];
    if (state === letter) return;
    if (performance.now() > deadline) throw new Error(`Process ${pid} stays in state ${state}`);
    // Nothing tells of a change.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

/** A process's command line, for messages. */
export function commandLineOf(pid: number): string {
  return readProc(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
}

/** Makes processes whose parent ends children of this process, so that none of them gets out of sight. */
export function adoptOrphans(adopt: boolean): void {
  checked("prctl(PR_SET_CHILD_SUBREAPER)", syscalls().prctl(PR_SET_CHILD_SUBREAPER, adopt ? 1 : 0, 0, 0, 0));
}

/** Sends a signal to a process that another one waits for. */
export function signalProcess(pid: number, signal: number): void {
  checked(`kill(${pid})`, syscalls().kill(pid, signal));
}

/**
 * Waits for the end of a child that nobody here spawned, and reaps it. Its own parent has been waited for: until then it may have ended, but
 * is not yet a child of this process.
 *
 * @param patience How long it may take to see that what it serves has gone, in milliseconds; then it is ended by force.
 * @returns whether it ended by itself.
 */
export function reapOrphan(pid: number, patience = 10_000): boolean {
  const pidfd = checked(`pidfd_open(${pid})`, syscalls().pidfd_open(pid, 0));
  try {
    const ended = pollFd(pidfd, Ready.IN, patience) !== 0;
    if (!ended) checked("pidfd_send_signal", syscalls().pidfd_send_signal(pidfd, Signal.KILL, null, 0));
    const info = new Uint8Array(128);
    checked(`waitid(${pid})`, syscalls().waitid(P_PIDFD, pidfd, info, WEXITED, null));
    return ended;
  } finally {
    closeFd(pidfd);
  }
}

/** Ticks of `utime` and `stime` in a second: USER_HZ, which is 100 on every x86-64. */
const USER_HZ = 100;

/** CPU time of a process and all its threads, in seconds; it counts in hundredths. */
export function cpuTimeOf(pid: number | "self"): number {
  const stat = readProc(`/proc/${pid}/stat`);
  // The second field is the name in parentheses, which may have spaces; utime and stime are the fields 14 and 15.
  const [utime, stime] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  return (utime + stime) / USER_HZ;
}
