/**
 * A process that puts a terminal back when the one that changed its mode has ended, whatever ended it: a crash and SIGKILL leave a program
 * no time to do so itself.
 *
 * It waits for the end of a pipe whose writing end only this process has, and touches nothing if somebody else, such as the shell, has
 * changed the mode by then.
 *
 * @module
 */
import { closeFd } from "./file.ts";
import { Signal } from "./process.ts";
import { buildExecutable, type Guard, startGuard } from "./small_program.ts";
import { cString } from "./syscall.ts";
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
/** The program. */
export function buildGuard(ours: TerminalMode, before: TerminalMode): Uint8Array<ArrayBuffer> {
  const code = new Uint8Array(CODE.length + 2 * TERMIOS_SIZE + NAME_SIZE);
  code.set(CODE);
  code.set(new Uint8Array(ours.buffer), CODE.length);
  code.set(new Uint8Array(before.buffer), CODE.length + TERMIOS_SIZE);
  code.set(cString(NAME), CODE.length + 2 * TERMIOS_SIZE);
  return buildExecutable(code);
}

/** See the module. */
export class TerminalGuard {
  readonly #guard: Guard;

  /**
   * @param terminal A descriptor of the terminal.
   * @param ours The mode in which it will be left alone by the guard no longer.
   * @param before The mode to put back.
   * @throws {SyscallError} when the host does not allow such a process.
   */
  constructor(terminal: number, ours: TerminalMode, before: TerminalMode) {
    this.#guard = startGuard(NAME, buildGuard(ours, before), terminal);
  }

  /** Ends it without touching the terminal, and reaps it. */
  dismiss(): void {
    const { process, pipe } = this.#guard;
    process.kill(Signal.KILL);
    process.wait();
    process.close();
    closeFd(pipe);
  }
}
