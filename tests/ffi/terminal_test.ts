import { assertEquals } from "@std/assert";
import { closeFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { keyByKey, setTerminalMode, terminalMode } from "../../src/ffi/terminal.ts";
import { LocalMode, Terminal } from "../support/terminal.ts";

Deno.test("what is no terminal has no mode", () => {
  const fd = openFile("/dev/null", OpenFlags.O_RDWR);
  assertEquals(terminalMode(fd), undefined);
  closeFd(fd);
});

Deno.test("key by key, nothing is echoed or held back, and signals keep their keys", () => {
  const terminal = new Terminal();
  const fd = openFile(terminal.path, OpenFlags.O_RDWR | OpenFlags.O_NOCTTY);
  const before = terminalMode(fd)!;
  setTerminalMode(fd, keyByKey(before));
  assertEquals(terminal.localModes & (LocalMode.ICANON | LocalMode.ECHO | LocalMode.ISIG), LocalMode.ISIG);
  setTerminalMode(fd, before);
  assertEquals(terminalMode(fd), before);
  closeFd(fd);
  terminal.close();
});
