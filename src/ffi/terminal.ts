/**
 * Terminal modes (ioctl_tty(2), termios(3)).
 *
 * @module
 */
import { checked, Errno } from "./errno.ts";
import { syscalls } from "./syscall.ts";

const TCGETS = 0x5401;
const TCSETS = 0x5402;

/** The kernel's struct termios (asm-generic/termbits.h): iflag @0, oflag @4, cflag @8, lflag @12, line @16, cc[19] @17. */
const TERMIOS_SIZE = 36;
const Offset = { INPUT: 0, LOCAL: 12, VTIME: 17 + 5, VMIN: 17 + 6 } as const;

const BRKINT = 0x2;
const INPCK = 0x10;
const ISTRIP = 0x20;
const ICRNL = 0x100;
const IXON = 0x400;
const ICANON = 0x2;
const ECHO = 0x8;
const IEXTEN = 0x8000;

/** A terminal's mode, as the kernel lays it out. */
export type TerminalMode = DataView<ArrayBuffer>;

/** The mode of a terminal. @returns `undefined` where the descriptor is none. */
export function terminalMode(fd: number): TerminalMode | undefined {
  const mode = new DataView(new ArrayBuffer(TERMIOS_SIZE));
  const result = syscalls().ioctl_buffer(fd, TCGETS, mode);
  if (result === -Errno.ENOTTY || result === -Errno.EBADF || result === -Errno.EINVAL) return undefined;
  checked(`ioctl(${fd}, TCGETS)`, result);
  return mode;
}

/** Sets the mode of a terminal. */
export function setTerminalMode(fd: number, mode: TerminalMode): void {
  checked(`ioctl(${fd}, TCSETS)`, syscalls().ioctl_buffer(fd, TCSETS, mode));
}

/** The same mode, but with each key passed on as it is typed and not echoed. Keys that send signals still do. */
export function keyByKey(mode: TerminalMode): TerminalMode {
  const changed = new DataView(mode.buffer.slice(0));
  const clear = (at: number, bits: number) => changed.setUint32(at, changed.getUint32(at, true) & ~bits, true);
  clear(Offset.INPUT, BRKINT | INPCK | ISTRIP | ICRNL | IXON);
  clear(Offset.LOCAL, ICANON | ECHO | IEXTEN);
  changed.setUint8(Offset.VMIN, 1);
  changed.setUint8(Offset.VTIME, 0);
  return changed;
}
