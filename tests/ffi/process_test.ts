import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/ffi/errno.ts";
import { closeFd, readFd } from "../../src/ffi/file.ts";
import { Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { openDescriptors } from "../support/leaks.ts";

const PATH = { PATH: "/usr/bin:/bin" };

/** What a shell script prints on descriptor 3, whose other end is a socket here. */
function printed(script: string, descriptors: (theirs: number) => Map<number, number | null>): string {
  const before = openDescriptors();
  const [ours, theirs] = createSocketPair();
  const child = spawn({ command: ["sh", "-c", script], env: PATH, descriptors: descriptors(theirs) });
  closeFd(theirs);
  let text = "";
  const buffer = new Uint8Array(4096);
  for (let length; (length = readFd(ours, buffer)) > 0;) text += new TextDecoder().decode(buffer.subarray(0, length));
  assertEquals(child.wait(), { code: 0 });
  child.close();
  closeFd(ours);
  assertEquals(openDescriptors(), before);
  return text;
}

Deno.test("a child has the descriptors that it was given, under the numbers that were asked for", () => {
  const text = printed("echo three >&3; echo five >&5", (fd) => new Map([[3, fd], [4, null], [5, fd]]));
  assertEquals(text, "three\nfive\n");
});

Deno.test("a child inherits no other descriptor", () => {
  const spare = createSocketPair();
  // Ten is where the shell puts aside what a redirection replaces; a number that is gone again was the list's own.
  const script =
    'for fd in /proc/$$/fd/*; do case ${fd##*/} in [0-3]|10) ;; *) test -e "$fd" && echo "$fd";; esac; done >&3; true';
  try {
    assertEquals(printed(script, (fd) => new Map([[3, fd]])), "");
  } finally {
    spare.forEach(closeFd);
  }
});

Deno.test("a child's standard input can be nothing", () => {
  assertEquals(printed("cat >&3; echo end >&3", (fd) => new Map([[0, null], [3, fd]])), "end\n");
});

Deno.test("the environment of a child is what was given, and no more", () => {
  const text = printed("env >&3", (fd) => new Map([[3, fd]]));
  const names = text.trim().split("\n").map((line) => line.split("=")[0]);
  // The shell itself adds PWD (and OLDPWD, SHLVL, _ where it is bash).
  assertEquals(names.filter((name) => !["PATH", "PWD", "OLDPWD", "SHLVL", "_"].includes(name)), []);
});

Deno.test("exit codes and signals are told apart", () => {
  const exits = spawn({ command: ["sh", "-c", "exit 7"], env: PATH });
  assertEquals(exits.wait(), { code: 7 });
  const killed = spawn({ command: ["sleep", "100"], env: PATH });
  assertEquals(killed.poll(), undefined);
  killed.kill(Signal.TERM);
  assertEquals(killed.wait(), { signal: Signal.TERM });
  killed.kill(Signal.TERM);
  exits.close();
  killed.close();
});

Deno.test("a program that is not there is an error that names it", () => {
  const before = openDescriptors();
  assertThrows(
    () => spawn({ command: ["/no/such/program"], env: {} }),
    SyscallError,
    "spawn(/no/such/program): ENOENT",
  );
  assertEquals(openDescriptors(), before);
});

Deno.test("gaps in a child's descriptors are refused, since something else would show through them", () => {
  assertThrows(() => spawn({ command: ["true"], env: PATH, descriptors: new Map([[5, null]]) }), RangeError);
});
