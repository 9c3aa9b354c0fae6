/**
 * A process that puts a terminal back when the one that changed its mode has ended, whatever ended it: a crash and SIGKILL leave a program
 * no time to do so itself.
 *
 * It is a static ELF executable of some 300 bytes (generic ABI, chapters 4 and 5), made in memory. It waits for the end of a pipe whose
 * writing end only this process has, and touches nothing if somebody else, such as the shell, has changed the mode by then.
 *
 * @module
 */
import { checked } from "./errno.ts";
import { closeFd, createPipe, writeFd } from "./file.ts";
import { type ChildProcess, Signal, spawn } from "./process.ts";
import { cString, syscalls } from "./syscall.ts";
import { TCSETS, type TerminalMode, TERMIOS_SIZE } from "./terminal.ts";

/**
 * Descriptor 0 is the pipe, 1 the terminal.
 *
 * ```nasm
 *         mov     eax, 157                ; prctl(PR_SET_NAME, name)
 *         mov     edi, 15
 *         lea     rsi, [rel name]
 *         syscall
 * wait:   xor     eax, eax                ; read(0, below the stack, 1)
 *         xor     edi, edi
 *         lea     rsi, [rsp - 64]
 *         mov     edx, 1
 *         syscall
 *         cmp     eax, -4                 ; EINTR: somebody stopped and continued this process
 *         je      wait
 *         mov     eax, 16                 ; ioctl(1, TCGETS, below the stack)
 *         mov     edi, 1
 *         mov     esi, 0x5401
 *         lea     rdx, [rsp - 64]
 *         syscall
 *         test    eax, eax
 *         jne     end                     ; the terminal has gone
 *         lea     rsi, [rsp - 64]
 *         lea     rdi, [rel ours]
 *         mov     ecx, 36
 *         repe    cmpsb
 *         jne     end
 *         mov     eax, 16                 ; ioctl(1, TCSETS, before)
 *         mov     edi, 1
 *         mov     esi, 0x5402
 *         lea     rdx, [rel before]
 *         syscall
 * end:    mov     eax, 60                 ; exit(0)
 *         xor     edi, edi
 *         syscall
 * ours:   times 36 db 0                   ; struct termios
 * before: times 36 db 0                   ; the same
 * name:   times 16 db 0                   ; with its NUL
 * ```
 */
const CODE = [
  ...[0xb8, 157, 0, 0, 0, 0xbf, 15, 0, 0, 0, 0x48, 0x8d, 0x35, 0xaf, 0, 0, 0, 0x0f, 0x05],
  ...[0x31, 0xc0, 0x31, 0xff, 0x48, 0x8d, 0x74, 0x24, 0xc0, 0xba, 1, 0, 0, 0, 0x0f, 0x05],
  ...[0x83, 0xf8, 0xfc, 0x74, 0xeb],
  ...[0xb8, 16, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe, 0x01, 0x54, 0, 0, 0x48, 0x8d, 0x54, 0x24, 0xc0, 0x0f, 0x05],
  ...[0x85, 0xc0, 0x75, 0x2d],
  ...[0x48, 0x8d, 0x74, 0x24, 0xc0, 0x48, 0x8d, 0x3d, 0x2a, 0, 0, 0],
  ...[0xb9, TERMIOS_SIZE, 0, 0, 0, 0xf3, 0xa6, 0x75, 0x18],
  ...[0xb8, 16, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe, TCSETS & 0xff, TCSETS >> 8, 0, 0],
  ...[0x48, 0x8d, 0x15, 0x2f, 0, 0, 0, 0x0f, 0x05],
  ...[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
];

/** What it is called among processes. The kernel would call it by the last part of its path, a number. */
const NAME = "splitvm-guard";
/** The kernel's TASK_COMM_LEN. */
const NAME_SIZE = 16;
/** Where it is loaded. */
const BASE = 0x40_0000;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const PT_LOAD = 1;
const PF_R_X = 5;
const MFD_CLOEXEC = 1;
/** Allows execution where that is not the default (vm.memfd_noexec); kernels before 6.3 do not know it. */
const MFD_EXEC = 0x10;

/** The program. */
export function buildGuard(ours: TerminalMode, before: TerminalMode): Uint8Array<ArrayBuffer> {
  const start = EHDR_SIZE + PHDR_SIZE;
  const size = start + CODE.length + 2 * TERMIOS_SIZE + NAME_SIZE;
  const view = new DataView(new ArrayBuffer(size));
  const bytes = new Uint8Array(view.buffer);
  const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  u64(24, BASE + start); // e_entry
  u64(32, EHDR_SIZE); // e_phoff
  [EHDR_SIZE, PHDR_SIZE, 1].forEach((value, i) => view.setUint16(52 + 2 * i, value, true));
  view.setUint32(EHDR_SIZE, PT_LOAD, true);
  view.setUint32(EHDR_SIZE + 4, PF_R_X, true);
  [0, BASE, BASE, size, size, 4096].forEach((value, i) => u64(EHDR_SIZE + 8 + 8 * i, value));
  bytes.set(CODE, start);
  bytes.set(new Uint8Array(ours.buffer), start + CODE.length);
  bytes.set(new Uint8Array(before.buffer), start + CODE.length + TERMIOS_SIZE);
  bytes.set(cString(NAME), start + CODE.length + 2 * TERMIOS_SIZE);
  return bytes;
}

/** See the module. */
export class TerminalGuard {
  readonly #process: ChildProcess;
  readonly #pipe: number;

  /**
   * @param terminal A descriptor of the terminal.
   * @param ours The mode in which it will be left alone by the guard no longer.
   * @param before The mode to put back.
   * @throws {SyscallError} when the host does not allow such a process.
   */
  constructor(terminal: number, ours: TerminalMode, before: TerminalMode) {
    const program = makeProgram(buildGuard(ours, before));
    const [reader, writer] = createPipe();
    try {
      this.#process = spawn({
        command: [NAME],
        // Not by way of /proc/self: in the child, the descriptor is closed by then.
        program: `/proc/${syscalls().getpid()}/fd/${program}`,
        env: {},
        descriptors: new Map([[0, reader], [1, terminal], [2, terminal]]),
        // What ends the whole job, by a key or by kill, is not to end this. A terminal stops background processes that change it, unless SIGTTOU
        // is blocked.
        ownGroup: true,
        blockSignals: true,
      });
      this.#pipe = writer;
    } catch (error) {
      closeFd(writer);
      throw error;
    } finally {
      closeFd(reader);
      closeFd(program);
    }
  }

  /** Ends it without touching the terminal, and reaps it. */
  dismiss(): void {
    this.#process.kill(Signal.KILL);
    this.#process.wait();
    this.#process.close();
    closeFd(this.#pipe);
  }
}

function makeProgram(image: Uint8Array<ArrayBuffer>): number {
  const name = cString(NAME);
  const executable = syscalls().memfd_create(name, MFD_CLOEXEC | MFD_EXEC);
  const fd = executable >= 0 ? executable : checked("memfd_create", syscalls().memfd_create(name, MFD_CLOEXEC));
  try {
    writeFd(fd, image);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
