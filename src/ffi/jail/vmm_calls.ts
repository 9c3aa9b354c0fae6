/**
 * The system calls of a virtual machine monitor: those that it makes while its threads start, those that it goes on to make, and why.
 *
 * They were found by watching machines of one and of several vCPUs, with device processes over both wires, every kind of character device and
 * monitor, job control, and every kind of end.
 *
 * @module
 */
import { KvmRequest } from "../kvm_abi.ts";
import { Signal } from "../process.ts";
import { FIONREAD } from "../socket.ts";
import { TCGETS, TCSETS, TIOCGPGRP } from "../terminal.ts";
import type { CallName } from "./call_numbers.ts";
import { DENIED, oneOf, rulesAtStart, rulesInService, type TableEntry } from "./call_table.ts";
import { RUNTIME_CALLS, START_CALLS } from "./runtime_calls.ts";
import type { Filter, FilterRule } from "./seccomp.ts";

/** linux/wait.h */
const P_PIDFD = 3;

/** asm-generic/fcntl.h: O_ACCMODE, O_CREAT, O_TRUNC; O_RDONLY has none of them. */
const WRITING = 0o3 | 0o100 | 0o1000;

/** asm-generic/fcntl.h */
const F_SETLK = 6;

/** What a machine that runs asks of KVM, the most frequent first: the kernel goes through a filter from its beginning. */
const KVM_REQUESTS: readonly number[] = [
  KvmRequest.RUN,
  KvmRequest.IRQ_LINE,
  KvmRequest.IRQFD,
  KvmRequest.SET_USER_MEMORY_REGION,
  KvmRequest.SET_GSI_ROUTING,
  ...[KvmRequest.GET_CLOCK, KvmRequest.SET_CLOCK, KvmRequest.KVMCLOCK_CTRL],
  ...[KvmRequest.GET_IRQCHIP, KvmRequest.SET_IRQCHIP, KvmRequest.GET_PIT2, KvmRequest.SET_PIT2],
  ...[KvmRequest.GET_REGS, KvmRequest.SET_REGS, KvmRequest.GET_SREGS, KvmRequest.SET_SREGS],
  ...[KvmRequest.GET_MSRS, KvmRequest.SET_MSRS, KvmRequest.GET_FPU, KvmRequest.SET_FPU],
  ...[KvmRequest.GET_LAPIC, KvmRequest.SET_LAPIC, KvmRequest.GET_MP_STATE, KvmRequest.SET_MP_STATE],
  ...[KvmRequest.GET_VCPU_EVENTS, KvmRequest.SET_VCPU_EVENTS, KvmRequest.GET_DEBUGREGS, KvmRequest.SET_DEBUGREGS],
  ...[KvmRequest.GET_XCRS, KvmRequest.SET_XCRS],
];

/** @param pid This process's own. */
function vmmCalls(pid: number): TableEntry[] {
  return [
    {
      calls: ["ioctl"],
      later: "allowed",
      when: oneOf(1, [...KVM_REQUESTS, FIONREAD, TCGETS, TCSETS, TIOCGPGRP]),
      reason:
        "KVM, but for making machines and vCPUs; pings of device processes; the mode of the terminal, but no input for it (TIOCSTI)",
    },
    ...RUNTIME_CALLS,
    ...START_CALLS,
    { calls: ["dup3"], later: "allowed", reason: "a character device's output follows its clients" },
    {
      calls: ["io_submit", "io_getevents"],
      later: "allowed",
      reason: "eventfds that a device process has as well are signalled by the kernel, which does not wait",
    },
    { calls: ["io_setup"], later: "fatal", reason: "the context for that, which each thread makes at its start" },
    {
      calls: ["tgkill"],
      later: "allowed",
      when: [[{ index: 0, equals: pid }]],
      reason: "vCPUs are kicked out of the guest; abort(3)",
    },
    {
      calls: ["kill"],
      later: "allowed",
      when: [Signal.STOP, Signal.TTIN].map((equals) => [{ index: 0, equals: pid }, { index: 1, equals }]),
      reason: "job control: this process stops itself",
    },
    {
      calls: ["pidfd_send_signal"],
      later: "allowed",
      when: [[{ index: 1, equals: Signal.KILL }]],
      reason:
        "device processes that do not end, and the terminal's guard; pidfds of other processes cannot be made, nor asked of a socket",
    },
    { calls: ["waitid"], later: "allowed", when: [[{ index: 0, equals: P_PIDFD }]], reason: "how these have ended" },
    {
      calls: ["timer_create", "timer_settime"],
      later: "fatal",
      reason: "the leading thread leaves the guest now and then to look after threads that start",
    },
    { calls: ["timer_delete"], later: "allowed", reason: "it no longer does" },
    {
      calls: ["openat"],
      later: "refused",
      when: [[{ index: 2, mask: WRITING, equals: 0 }]],
      reason: "modules of threads (start); libc and V8 look into /proc when memory grows",
    },
    { calls: ["mmap"], later: "refused", reason: "V8 maps its own built-in code out of the executable (start)" },
    { calls: ["statx", "pread64", "lseek"], later: "refused", reason: "modules, and Deno's cache of them (start)" },
    { calls: ["fcntl"], later: "refused", when: [[{ index: 1, equals: F_SETLK }]], reason: "that cache is a database" },
    { calls: ["seccomp"], later: "fatal", reason: "the second step of giving up calls" },
  ];
}

/** Deno's cache of compiled code, where a user has left that on: it does without. */
const CACHE_WRITES: readonly CallName[] = [
  ...["open", "mkdir", "unlink", "unlinkat", "pwrite64", "fsync", "fdatasync"] as const,
];

/**
 * What a VMM may do from before its guest's first instruction on, while its other threads are starting: these read their modules. What
 * is not in the table fails with EPERM.
 */
export function vmmStartFilter(pid: number): Filter {
  return { rules: rulesAtStart(vmmCalls(pid)), otherwise: DENIED };
}

/**
 * What a VMM may do once all its threads do their work.
 *
 * @param otherwise What becomes of a call that is not in the table.
 */
export function vmmServiceFilter(pid: number, otherwise: "kill" | "log" = "kill"): Filter {
  const refused = CACHE_WRITES.map((call): FilterRule => ({ call, verdict: DENIED }));
  return { rules: [...rulesInService(vmmCalls(pid)), ...refused], otherwise };
}
