import { assert, assertEquals } from "@std/assert";
import { KvmRequest } from "../../../src/ffi/kvm_abi.ts";
import { type CallName, CallNumber } from "../../../src/ffi/jail/call_numbers.ts";
import { vmmServiceFilter, vmmStartFilter } from "../../../src/ffi/jail/vmm_calls.ts";
import { compileFilter, type Filter } from "../../../src/ffi/jail/seccomp.ts";
import { allowed, assertSocketsTellTheirKind } from "../../support/filters.ts";

const PID = 1234;
const START = vmmStartFilter(PID);
const SERVICE = vmmServiceFilter(PID);

/** The values of an argument for which a call is let through. */
function valuesOf({ rules }: Filter, name: CallName, index: number): (number | undefined)[] {
  const rulesFor = rules.filter(({ call, verdict }) => call === name && verdict === "allow");
  return rulesFor.map(({ when = [] }) => when.find((test) => test.index === index)?.equals);
}

const DANGEROUS: readonly CallName[] = [
  ...["execve", "execveat", "fork", "vfork", "clone3", "ptrace", "process_vm_readv", "process_vm_writev"] as const,
  ...["open", "socket", "connect", "bind", "listen", "mount", "umount2", "unshare", "setns"] as const,
  ...["pivot_root", "bpf", "userfaultfd", "io_uring_setup", "io_uring_register", "io_uring_enter"] as const,
  ...["pidfd_open", "pidfd_getfd", "setresuid", "setresgid", "capset", "keyctl", "add_key"] as const,
  ...["perf_event_open", "init_module", "personality", "chdir", "mkdir", "unlink", "unlinkat", "fsync"] as const,
];

Deno.test("a machine's process can execute, connect to, trace and change nothing, not even while its threads start", () => {
  for (const filter of [START, SERVICE]) {
    const calls = allowed(filter);
    assertEquals(DANGEROUS.filter((call) => calls.has(call)), []);
  }
});

Deno.test("once all threads work nothing is opened, and no filter, timer or context is made any more", () => {
  const calls = allowed(SERVICE);
  for (const call of ["openat", "readlinkat", "seccomp", "timer_create", "io_setup", "socketpair"] as const) {
    assert(allowed(START).has(call), call);
    assert(!calls.has(call), call);
  }
});

Deno.test("a process that runs keeps no right that it did not have before", () => {
  const atStart = allowed(START);
  assertEquals([...allowed(SERVICE)].filter((call) => !atStart.has(call)), []);
});

Deno.test("what is not in the table ends a process that runs, or is told of where that is wanted, and fails before", () => {
  assertEquals(SERVICE.otherwise, "kill");
  assertEquals(vmmServiceFilter(PID, "log").otherwise, "log");
  assertEquals(START.otherwise, { errno: 1 });
});

Deno.test("signals go to the process itself, or kill what it has a pidfd of", () => {
  for (const filter of [START, SERVICE]) {
    assertEquals(new Set([...valuesOf(filter, "kill", 0), ...valuesOf(filter, "tgkill", 0)]), new Set([PID]));
    assertEquals(valuesOf(filter, "pidfd_send_signal", 1), [9]);
  }
});

Deno.test("KVM is asked for nothing that makes a machine or a vCPU, and to run before anything else", () => {
  const requests = valuesOf(SERVICE, "ioctl", 1);
  assertEquals(requests[0], KvmRequest.RUN);
  for (const made of ["CREATE_VM", "CREATE_VCPU", "CREATE_IRQCHIP", "CREATE_PIT2", "SET_CPUID2"] as const) {
    assert(!requests.includes(KvmRequest[made]), made);
  }
});

Deno.test("of a socket nothing is to be had but its kind, and nothing is to be set", () => {
  for (const filter of [START, SERVICE]) assertSocketsTellTheirKind(filter);
});

Deno.test("no rule stands behind one that always applies", () => {
  for (const { rules } of [START, SERVICE]) {
    const settled = new Set<CallName>();
    for (const { call, when = [] } of rules) {
      assert(!settled.has(call), `${call} is settled already`);
      if (when.length === 0) settled.add(call);
    }
  }
});

Deno.test("the filters are short enough for the kernel, and name calls that there are", () => {
  for (const filter of [START, SERVICE]) {
    assert(compileFilter(filter).length < 1000);
    for (const { call } of filter.rules) assert(CallNumber[call] >= 0);
  }
});
