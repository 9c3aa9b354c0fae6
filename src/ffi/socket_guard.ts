/**
 * A process that takes away the paths of listening sockets when the one that listened has ended, whatever ended it: a process that has given up
 * changing folders cannot do so itself, nor can one that was killed.
 *
 * It waits for the end of a pipe whose writing end only this process has, and leaves a path alone that leads to another socket by then.
 *
 * @module
 */
import { closeFd } from "./file.ts";
import { buildExecutable, type Guard, startGuard } from "./small_program.ts";
import { cString } from "./syscall.ts";
import type { BoundPath } from "./unix_socket.ts";

/**
 * Descriptor 0 is the pipe.
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
 *         lea     rbx, [rel paths]
 * next:   cmp     byte [rbx + 16], 0      ; the end of the list
 *         je      end
 *         mov     eax, 6                  ; lstat(path, below the stack)
 *         lea     rdi, [rbx + 16]
 *         lea     rsi, [rsp - 256]
 *         syscall
 *         test    eax, eax
 *         jne     skip                    ; it has gone
 *         mov     rax, [rsp - 256]        ; st_dev
 *         cmp     rax, [rbx]
 *         jne     skip
 *         mov     rax, [rsp - 248]        ; st_ino
 *         cmp     rax, [rbx + 8]
 *         jne     skip
 *         mov     eax, 87                 ; unlink(path)
 *         lea     rdi, [rbx + 16]
 *         syscall
 * skip:   add     rbx, 128
 *         jmp     next
 * end:    mov     eax, 60                 ; exit(0)
 *         xor     edi, edi
 *         syscall
 * name:   times 16 db 0                   ; with its NUL
 * paths:
 * ```
 */
const CODE = [
  ...[0xb8, 157, 0, 0, 0, 0xbf, 15, 0, 0, 0, 0x48, 0x8d, 0x35, 0x73, 0, 0, 0, 0x0f, 0x05],
  ...[0x31, 0xc0, 0x31, 0xff, 0x48, 0x8d, 0x74, 0x24, 0xc0, 0xba, 1, 0, 0, 0, 0x0f, 0x05],
  ...[0x83, 0xf8, 0xfc, 0x74, 0xeb, 0x48, 0x8d, 0x1d, 0x65, 0, 0, 0, 0x80, 0x7b, 0x10, 0, 0x74, 0x46],
  ...[0xb8, 6, 0, 0, 0, 0x48, 0x8d, 0x7b, 0x10, 0x48, 0x8d, 0xb4, 0x24, 0, 0xff, 0xff, 0xff, 0x0f, 0x05],
  ...[0x85, 0xc0, 0x75, 0x26],
  ...[0x48, 0x8b, 0x84, 0x24, 0, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x03, 0x75, 0x19],
  ...[0x48, 0x8b, 0x84, 0x24, 8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x43, 0x08, 0x75, 0x0b],
  ...[0xb8, 87, 0, 0, 0, 0x48, 0x8d, 0x7b, 0x10, 0x0f, 0x05],
  ...[0x48, 0x81, 0xc3, 0x80, 0, 0, 0, 0xeb, 0xb4],
  ...[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
];

/** What it is called among processes. */
const NAME = "splitvm-sockets";
/** The kernel's TASK_COMM_LEN. */
const NAME_SIZE = 16;
/** Of an entry of the list: st_dev @0, st_ino @8, and the path @16, which has at most 107 bytes (unix(7)). */
const ENTRY_SIZE = 128;

/** The program. */
export function buildSocketGuard(paths: readonly BoundPath[]): Uint8Array<ArrayBuffer> {
  const list = CODE.length + NAME_SIZE;
  const code = new Uint8Array(list + (paths.length + 1) * ENTRY_SIZE);
  code.set(CODE);
  code.set(cString(NAME), CODE.length);
  const view = new DataView(code.buffer);
  paths.forEach(({ path, device, inode }, i) => {
    const entry = list + i * ENTRY_SIZE;
    view.setBigUint64(entry, device, true);
    view.setBigUint64(entry + 8, inode, true);
    code.set(cString(path), entry + 16);
  });
  return buildExecutable(code);
}

/** See the module. */
export class SocketGuard {
  readonly #guard: Guard;

  /**
   * @param paths Where this process listens. A relative path is looked for from where this process is now.
   * @throws {SyscallError} when the host does not allow such a process.
   */
  constructor(paths: readonly BoundPath[]) {
    this.#guard = startGuard(NAME, buildSocketGuard(paths));
  }

  /** Has it take the paths away, now, and reaps it. */
  dismiss(): void {
    const { process, pipe } = this.#guard;
    closeFd(pipe);
    process.wait();
    process.close();
  }
}
