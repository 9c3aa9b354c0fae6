import { assertEquals, assertThrows } from "@std/assert";
import { Errno, SyscallError } from "../../../src/ffi/errno.ts";
import { createPipe, readFd } from "../../../src/ffi/file.ts";
import { call, runScript, type ScriptStep, startScript, unblockSignals } from "../../../src/ffi/jail/child_script.ts";
import { closeAll } from "../../../src/ffi/socket.ts";
import { cString } from "../../../src/ffi/syscall.ts";
import { leakingNothing } from "../../support/leaks.ts";
import { behind } from "../../support/jail.ts";

const AT_FDCWD = -100;

/** Runs a script to its end. */
function outcome(steps: readonly ScriptStep[]) {
  const child = startScript(steps);
  const status = child.process.wait();
  child.process.close();
  return { ...child, status };
}

Deno.test(
  "a script's calls are made by a child, in their order",
  leakingNothing(() => {
    const [input, output] = createPipe();
    const [pid, parent] = [call("getpid", []), call("getppid", [])];
    const text = new TextEncoder().encode("abc");
    const { process, status, resultOf } = outcome([pid, parent, call("write", [output, text, 3])]);
    const into = new Uint8Array(8);
    assertEquals([resultOf(pid), resultOf(parent)], [BigInt(process.pid), BigInt(Deno.pid)]);
    assertEquals([readFd(input, into), new TextDecoder().decode(into.subarray(0, 3))], [3, "abc"]);
    assertEquals(status, { code: 0 });
    closeAll([input, output]);
  }),
);

Deno.test("a call gets all six arguments", () => {
  // mmap: what is mapped where it is asked for was asked for with every argument right.
  const address = 0x1000_0000_0000n;
  const [anonymousFixed, readWrite] = [0x100022, 3];
  const mapped = call("mmap", [address, 4096, readWrite, anonymousFixed, -1, 0]);
  const invalid = call("mmap", [address + 0x10000n, 4096, readWrite, anonymousFixed, -1, 1]);
  const unmapped = call("munmap", [address, 4096]);
  assertEquals(behind([], [mapped, invalid, unmapped]).results, [Number(address), -Errno.EINVAL, 0]);
});

Deno.test("a call can be given what an earlier one returned, and a structure can", () => {
  const file = call("memfd_create", [cString("x"), 0]);
  const written = call("write", [{ resultOf: file }, new Uint8Array(5), 5]);
  const again = call("write", [{ resultOf: file }, new Uint8Array(6), { resultOf: written }]);
  const into = new Uint8Array(24);
  const { resultOf } = outcome([file, written, again, { resultOf: again, into, offset: 8 }]);
  assertEquals(resultOf(again), 5n);
  assertEquals([...new BigUint64Array(into.buffer)], [0n, 5n, 0n]);
});

Deno.test(
  "a call that fails ends the script, and is named",
  leakingNothing(() => {
    const open = call("openat", [AT_FDCWD, cString("/no/such"), 0, 0], { of: "/no/such" });
    const next = call("getpid", []);
    const { status, failed, resultOf } = outcome([open, next]);
    assertEquals([status, failed?.message, resultOf(next)], [{ code: 127 }, "openat(/no/such): ENOENT", undefined]);
    assertThrows(() => runScript([open]), SyscallError, "openat(/no/such): ENOENT");
  }),
);

Deno.test("a call that may fail does not end the script", () => {
  const close = call("close", [-1], { mayFail: true });
  const next = call("getpid", []);
  const { status, failed, resultOf, process } = outcome([close, next]);
  assertEquals([status, failed], [{ code: 0 }, undefined]);
  assertEquals([resultOf(close), resultOf(next)], [BigInt(-Errno.EBADF), BigInt(process.pid)]);
});

Deno.test("a result can be used only after the call", () => {
  const later = call("getpid", []);
  assertThrows(
    () => startScript([call("close", [{ resultOf: later }]), later]),
    TypeError,
    "getpid is not in the script",
  );
});

Deno.test(
  "a script may end with a program, whose signals are as ever",
  leakingNothing(() => {
    const argv = ["sh", "-c", "kill -TERM $$; sleep 10"].map(cString);
    const execute = call("execve", [cString("/bin/sh"), argv, [cString("PATH=/usr/bin:/bin")]]);
    const { status, failed } = outcome([unblockSignals(), execute]);
    assertEquals([status, failed], [{ signal: 15 }, undefined]);
  }),
);

Deno.test("descriptors that a child opens and closes are its own", () => {
  const [input, output] = createPipe();
  runScript([call("close", [output]), call("close", [input])]);
  assertEquals(readFd(input, new Uint8Array(0)), 0);
  closeAll([input, output]);
});
