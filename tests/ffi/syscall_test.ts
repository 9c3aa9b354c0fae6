import { assertEquals, assertThrows } from "@std/assert";
import { cString, retrying, syscalls } from "../../src/ffi/syscall.ts";
import { checked, Errno, SyscallError } from "../../src/ffi/errno.ts";

Deno.test("a stub makes the system call that its name says", () => {
  assertEquals(syscalls().getpid(), Deno.pid);
});

Deno.test("a failing call returns the negative error number", () => {
  assertEquals(syscalls().close(-1), -Errno.EBADF);
});

Deno.test("the fourth argument of a call reaches the kernel in its own register", () => {
  // socketpair's fourth argument is where the two descriptors are stored.
  const pair = new Int32Array(2);
  assertEquals(syscalls().socketpair(1, 1, 0, pair), 0);
  assertEquals(pair[0] > 2 && pair[1] > pair[0], true);
  for (const fd of pair) assertEquals(syscalls().close(fd), 0);
});

Deno.test("an error names the call and the errno", () => {
  const error = assertThrows(() => checked("open(/nonexistent)", -Errno.ENOENT), SyscallError);
  assertEquals([error.message, error.code, error.errno], ["open(/nonexistent): ENOENT", "ENOENT", 2]);
});

Deno.test("an interrupted call is made again", () => {
  const results = [-Errno.EINTR, -Errno.EINTR, 7];
  assertEquals(retrying("read", () => results.shift()!), 7);
});

Deno.test("a NUL in a path is refused before the kernel would cut it off there", () => {
  assertThrows(() => cString("/etc/passwd\0.img"), TypeError);
});
