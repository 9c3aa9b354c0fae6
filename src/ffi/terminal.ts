/**
 * Terminal modes (ioctl_tty(2), termios(3)).
 *
 * @module
 */
import { checked, Errno } from "./errno.ts";
import { closeFd, openFile, OpenFlags } from "./file.ts";
import { syscalls } from "./syscall.ts";

export const TCGETS = 0x5401;
/** Sets a terminal's mode at once. */
export const TCSETS = 0x5402;
export const TIOCGPGRP = 0x540f;
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;

/** The kernel's struct termios (asm-generic/termbits.h): iflag @0, oflag @4, cflag @8, lflag @12, line @16, cc[19] @17. */
export const TERMIOS_SIZE = 36;
const Offset = { INPUT: 0, OUTPUT: 4, CONTROL: 8, LOCAL: 12, VTIME: 17 + 5, VMIN: 17 + 6 } as const;

const IGNBRK = 0x1;
const BRKINT = 0x2;
const PARMRK = 0x8;
const INPCK = 0x10;
const ISTRIP = 0x20;
const INLCR = 0x40;
const IGNCR = 0x80;
const ICRNL = 0x100;
const IXON = 0x400;
const OPOST = 0x1;
const PARENB = 0x100;
const ISIG = 0x1;
const ICANON = 0x2;
const ECHO = 0x8;
const ECHONL = 0x40;
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

/**
 * Whether this process may change the terminal now: it belongs to the terminal's foreground, or the terminal is another session's. In the
 * background, the kernel would stop it instead.
 */
export function isInForeground(fd: number): boolean {
  const group = new Int32Array(1);
  return syscalls().ioctl_buffer(fd, TIOCGPGRP, group) < 0 || group[0] === syscalls().getpgrp();
}

/**
 * The same mode, but with each key passed on as it is typed and not echoed. Output is treated as before.
 *
 * @param signals Whether keys that send signals still do.
 */
export function keyByKey(mode: TerminalMode, signals = true): TerminalMode {
  return changed(mode, {
    [Offset.INPUT]: IGNBRK | BRKINT | PARMRK | INPCK | ISTRIP | INLCR | IGNCR | ICRNL | IXON,
    [Offset.LOCAL]: ICANON | ECHO | ECHONL | IEXTEN | (signals ? 0 : ISIG),
  });
}

/** The same mode without any treatment of input or output (termios(3), cfmakeraw). */
function raw(mode: TerminalMode): TerminalMode {
  return changed(keyByKey(mode, false), { [Offset.OUTPUT]: OPOST, [Offset.CONTROL]: PARENB });
}

/** A copy without some bits, by the offset of their word; each key is passed on when it comes. */
function changed(mode: TerminalMode, without: Readonly<Record<number, number>>): TerminalMode {
  const copy = new DataView(mode.buffer.slice(0));
  for (const [at, bits] of Object.entries(without)) {
    copy.setUint32(Number(at), copy.getUint32(Number(at), true) & ~bits, true);
  }
  copy.setUint8(Offset.VMIN, 1);
  copy.setUint8(Offset.VTIME, 0);
  return copy;
}

/** A pseudo-terminal (pty(7)) whose other end others may open and close. */
export interface PseudoTerminal {
  /** The end that stays here: non-blocking, close-on-exec. It is hung up while nobody has the other end open. */
  readonly master: number;
  /** The other end's path. */
  readonly path: string;
}

/** Makes a pseudo-terminal that passes bytes on as they are. */
export function openPseudoTerminal(): PseudoTerminal {
  const { O_RDWR, O_NOCTTY, O_NONBLOCK } = OpenFlags;
  const master = openFile("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  try {
    const number = new Int32Array(1);
    checked(`ioctl(${master}, TIOCGPTN)`, syscalls().ioctl_buffer(master, TIOCGPTN, number));
    checked(`ioctl(${master}, TIOCSPTLCK)`, syscalls().ioctl_buffer(master, TIOCSPTLCK, new Int32Array(1)));
    // Asked of either end, the mode is that of the other end.
    setTerminalMode(master, raw(terminalMode(master)!));
    const path = `/dev/pts/${number[0]}`;
    // Until it has been opened once, it is not hung up, and would keep what is written for whoever comes.
    closeFd(openFile(path, O_RDWR | O_NOCTTY));
    return { master, path };
  } catch (error) {
    closeFd(master);
    throw error;
  }
}
