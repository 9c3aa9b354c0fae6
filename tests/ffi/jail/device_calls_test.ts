import { assert, assertEquals } from "@std/assert";
import { type CallName, CallNumber } from "../../../src/ffi/jail/call_numbers.ts";
import { serviceFilter, startFilter } from "../../../src/ffi/jail/device_calls.ts";
import { compileFilter } from "../../../src/ffi/jail/seccomp.ts";
import { allowed, assertSocketsTellTheirKind } from "../../support/filters.ts";

const PID = 1234;
const FILTERS = [startFilter(), serviceFilter([], PID), serviceFilter(["storage"], PID)];

const DANGEROUS: readonly CallName[] = [
  ...["execve", "execveat", "fork", "vfork", "clone3", "ptrace", "process_vm_readv", "process_vm_writev"] as const,
  ...["open", "openat", "socket", "connect", "bind", "listen", "kill", "mount", "umount2", "unshare", "setns"] as const,
  ...["pivot_root", "bpf", "userfaultfd", "io_uring_setup", "io_uring_register", "pidfd_open", "pidfd_getfd"] as const,
  ...["setresuid", "capset", "seccomp", "keyctl", "add_key", "perf_event_open", "init_module", "personality"] as const,
];

Deno.test("a process that serves can open, execute, connect to, trace and signal nothing", () => {
  const calls = allowed(serviceFilter(["storage"], PID));
  assertEquals(DANGEROUS.filter((call) => calls.has(call)), []);
});

Deno.test("what is not in the table ends a process that serves, and fails in one that starts", () => {
  assertEquals(serviceFilter([], PID).otherwise, "kill");
  assertEquals(startFilter().otherwise, { errno: 1 });
});

Deno.test("a process that serves keeps no right that it did not have at its start", () => {
  const atStart = allowed(startFilter());
  assertEquals([...allowed(serviceFilter(["storage"], PID))].filter((call) => !atStart.has(call)), []);
});

Deno.test("a process that serves signals itself alone", () => {
  const rules = serviceFilter(["storage"], PID).rules.filter(({ call }) => call === "tgkill");
  assertEquals(rules, [
    { call: "tgkill", when: [{ index: 0, equals: PID }], verdict: "allow" },
    { call: "tgkill", verdict: { errno: 1 } },
  ]);
});

Deno.test("a class adds to what every device process may do, and takes nothing away", () => {
  const [plain, storage] = [allowed(serviceFilter([], PID)), allowed(serviceFilter(["storage"], PID))];
  assertEquals([...plain].filter((call) => !storage.has(call)), []);
  const own: readonly CallName[] = [
    ...["pread64", "pwrite64", "preadv2", "pwritev2", "fdatasync", "fallocate", "lseek", "statx"] as const,
    "io_uring_enter",
  ];
  assertEquals([...storage].filter((call) => !plain.has(call)).toSorted(), own.toSorted());
});

Deno.test("of a socket nothing is to be had but its kind, and nothing is to be set", () => {
  for (const filter of FILTERS) assertSocketsTellTheirKind(filter);
});

Deno.test("no rule stands behind one that always applies", () => {
  for (const { rules } of FILTERS) {
    const settled = new Set<CallName>();
    for (const { call, when = [] } of rules) {
      // The start allows without conditions what is conditional later.
      assert(!settled.has(call) || ["mmap", "prctl", "statx"].includes(call), `${call} is settled already`);
      if (when.length === 0) settled.add(call);
    }
  }
});

Deno.test("the filters are short enough for the kernel, and name calls that there are", () => {
  for (const filter of FILTERS) {
    assert(compileFilter(filter).length < 1000);
    for (const { call } of filter.rules) assert(CallNumber[call] >= 0);
  }
});
