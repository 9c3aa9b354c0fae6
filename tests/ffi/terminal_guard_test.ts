import { assertEquals } from "@std/assert";
import { assemble } from "../../guests/assembler/mod.ts";
import { closeFd, listDirectory } from "../../src/ffi/file.ts";
import { keyByKey, setTerminalMode, type TerminalMode, terminalMode } from "../../src/ffi/terminal.ts";
import { buildGuard, TerminalGuard } from "../../src/ffi/terminal_guard.ts";
import { openSlave, Terminal } from "../support/terminal.ts";
import { childrenOf, readProc } from "../support/process_tree.ts";

const SOURCE = await Deno.readTextFile(new URL("../../src/ffi/terminal_guard.ts", import.meta.url));

/** A terminal, and a guard that is to put it back from the mode of a machine. */
function withGuard(body: (fd: number, guard: TerminalGuard, before: TerminalMode, ours: TerminalMode) => void): void {
  const terminal = new Terminal();
  const fd = openSlave(terminal.path);
  try {
    const before = terminalMode(fd)!;
    const ours = keyByKey(before, false);
    body(fd, new TerminalGuard(fd, ours, before), before, ours);
  } finally {
    closeFd(fd);
    terminal.close();
  }
}

Deno.test("the guard's machine code is what its listing says", () => {
  const listing = [...SOURCE.split("```nasm\n")[1].split("```")[0].matchAll(/^ \* ?(.*)$/gm)].map(([, line]) => line);
  const { bytes } = assemble(`bits 64\norg 0\n${listing.join("\n")}`);
  const mode = new DataView(new ArrayBuffer(36));
  const name = new TextEncoder().encode("splitvm-guard");
  bytes.set(name, bytes.length - 16);
  assertEquals([...buildGuard(mode, mode).subarray(120)], [...bytes]);
});

Deno.test("a guard that is not needed any more leaves the terminal alone, and no process", () => {
  withGuard((fd, guard, _before, ours) => {
    setTerminalMode(fd, ours);
    guard.dismiss();
    assertEquals(terminalMode(fd), ours);
    assertEquals(childrenOf("self"), []);
  });
});

Deno.test("a guard has a name among processes", () => {
  withGuard((_fd, guard) => {
    const [pid] = childrenOf("self");
    const name = () => readProc(`/proc/${pid}/comm`);
    for (const deadline = performance.now() + 30_000; name() !== "splitvm-guard\n";) {
      if (performance.now() > deadline) throw new Error(`It is called ${name()}`);
    }
    assertEquals(readProc(`/proc/${pid}/cmdline`), "splitvm-guard\0");
    guard.dismiss();
  });
});

Deno.test("a guard has the terminal and its pipe, and nothing else", () => {
  withGuard((_fd, guard) => {
    const [pid] = childrenOf("self");
    assertEquals(listDirectory(`/proc/${pid}/fd`).map(Number), [0, 1, 2]);
    guard.dismiss();
  });
});
