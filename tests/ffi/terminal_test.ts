import { assertEquals } from "@std/assert";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, openFile, OpenFlags, readFd, writeFd } from "../../src/ffi/file.ts";
import { closeAll } from "../../src/ffi/socket.ts";
import { isInForeground, keyByKey, openPseudoTerminal, setTerminalMode, terminalMode } from "../../src/ffi/terminal.ts";
import { LocalMode, openSlave, Terminal } from "../support/terminal.ts";

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

Deno.test("key by key, the keys of signals can be keys like others", () => {
  const terminal = new Terminal();
  const fd = openSlave(terminal.path);
  setTerminalMode(fd, keyByKey(terminalMode(fd)!, false));
  assertEquals(terminal.localModes & (LocalMode.ICANON | LocalMode.ECHO | LocalMode.ISIG), 0);
  closeFd(fd);
  terminal.close();
});

Deno.test("a terminal that is not this process's own may be changed", () => {
  const terminal = new Terminal();
  const fd = openSlave(terminal.path);
  assertEquals(isInForeground(fd), true);
  closeFd(fd);
  terminal.close();
});

Deno.test("a pseudo-terminal passes bytes on as they are, without an echo", () => {
  const { master, path } = openPseudoTerminal();
  const slave = openSlave(path);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const piece = new Uint8Array(300);
  writeFd(master, bytes);
  assertEquals(piece.slice(0, readFd(slave, piece)), bytes);
  writeFd(slave, bytes);
  assertEquals(piece.slice(0, readFd(master, piece)), bytes);
  assertEquals(readFd(master, piece), -1);
  closeAll([slave, master]);
});

Deno.test("a pseudo-terminal is hung up while nobody has it open", () => {
  const { master, path } = openPseudoTerminal();
  const isHungUp = () => (pollFd(master, Ready.OUT, 0) & Ready.HUP) !== 0;
  assertEquals(isHungUp(), true);
  const slave = openSlave(path);
  assertEquals(isHungUp(), false);
  closeFd(slave);
  assertEquals(isHungUp(), true);
  closeFd(master);
});
