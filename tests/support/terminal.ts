/**
 * A pseudo-terminal (pty(7), ioctl_tty(2)): what a program on a person's terminal sees.
 *
 * @module
 */
import { checked } from "../../src/ffi/errno.ts";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, openFile, OpenFlags, readFd, writeFd } from "../../src/ffi/file.ts";
import { syscalls } from "../../src/ffi/syscall.ts";

const TCGETS = 0x5401;
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;

/** Flags of `c_lflag` (asm-generic/termbits.h). */
export const LocalMode = { ISIG: 0x1, ICANON: 0x2, ECHO: 0x8 } as const;
/** struct termios: four words of flags, of which `c_lflag` is the last. */
const TERMIOS_SIZE = 64;
const LOCAL_MODES = 12;

/** After this long without what is waited for, something hangs. In milliseconds. */
const PATIENCE = 60_000;

/** Opens a program's end of a terminal; it does not become this process's own. */
export function openSlave(path: string): number {
  return openFile(path, OpenFlags.O_RDWR | OpenFlags.O_NOCTTY);
}

/** Reads until `text` has come. @returns all that has. */
export function waitForText(fd: number, text: string): string {
  const piece = new Uint8Array(4096);
  let read = "";
  while (!read.includes(text)) {
    if (pollFd(fd, Ready.IN, PATIENCE) === 0) throw new Error(`There is only ${JSON.stringify(read)}`);
    const length = readFd(fd, piece);
    if (length === 0) throw new Error(`There was only ${JSON.stringify(read)} up to the end`);
    read += new TextDecoder().decode(piece.subarray(0, length));
  }
  return read;
}

/** Both ends of a pseudo-terminal. */
export class Terminal {
  readonly #master: number;
  readonly #slave: number;
  /** The program's end, to be opened by it. */
  readonly path: string;

  constructor() {
    this.#master = openFile("/dev/ptmx", OpenFlags.O_RDWR | OpenFlags.O_NOCTTY);
    checked("ioctl(TIOCSPTLCK)", syscalls().ioctl_buffer(this.#master, TIOCSPTLCK, new Int32Array(1)));
    const number = new Int32Array(1);
    checked("ioctl(TIOCGPTN)", syscalls().ioctl_buffer(this.#master, TIOCGPTN, number));
    this.path = `/dev/pts/${number[0]}`;
    // Held open, so that the terminal outlives the program.
    this.#slave = openSlave(this.path);
  }

  /** How the terminal treats lines and keys now ({@linkcode LocalMode}). */
  get localModes(): number {
    const termios = new DataView(new ArrayBuffer(TERMIOS_SIZE));
    checked("ioctl(TCGETS)", syscalls().ioctl_buffer(this.#slave, TCGETS, termios));
    return termios.getUint32(LOCAL_MODES, true);
  }

  /** Waits until those modes of `mask` are on that are in `wanted`, and no others. */
  waitForModes(mask: number, wanted: number): void {
    const deadline = performance.now() + PATIENCE;
    while ((this.localModes & mask) !== wanted) {
      if (performance.now() > deadline) throw new Error(`The terminal's modes stay ${this.localModes.toString(8)}`);
      pollFd(this.#master, 0, 10); // nothing tells of a change
    }
  }

  /** Waits until the program has printed `text`. @returns all up to it. */
  waitFor(text: string): string {
    return waitForText(this.#master, text);
  }

  /** Types. */
  type(keys: string): void {
    writeFd(this.#master, new TextEncoder().encode(keys));
  }

  close(): void {
    [this.#master, this.#slave].forEach(closeFd);
  }
}
