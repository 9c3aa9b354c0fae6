/**
 * The machine code that starts a child and has it make a list of system calls (see `child_script.ts`).
 *
 * The child shares this process's memory, its stack included, while this thread waits for it (vfork(2)). So the code that it runs uses
 * no stack, calls nothing, and writes nothing but results: V8 and libc, which could not be used there, have no part in it.
 *
 * @module
 */

/** struct entry: what the child does, one after the other. */
export const ScriptEntry = {
  /** A system call's number (asm/unistd_64.h), as a u64; {@linkcode COPY} to move a word from argument 0's address to argument 1's. */
  NUMBER: 0,
  /** Six words. */
  ARGUMENTS: 8,
  /** What the call returned: `-errno` on failure. */
  RESULT: 56,
  /** Whether the child goes on if the call fails: zero or not. */
  MAY_FAIL: 64,
  SIZE: 72,
} as const;

/** As an entry's number. */
export const COPY = -1n;

/** The status of a child one of whose calls failed. */
export const SCRIPT_FAILED = 127;

/**
 * `int run_child_script(unsigned int flags, int *pidfd, struct entry *script)`: returns what clone(2) does. Not clone3(2), which containers
 * are often denied, since a filter cannot look at its flags.
 */
export const CHILD_SCRIPT_CODE: Uint8Array = Uint8Array.from([
  ...[0x53], //                                     push rbx
  ...[0x48, 0x89, 0xd3], //                         mov rbx, rdx
  ...[0x48, 0x89, 0xf2], //                         mov rdx, rsi (with CLONE_PIDFD, where the descriptor goes)
  ...[0x89, 0xff], //                               mov edi, edi
  ...[0x31, 0xf6], //                               xor esi, esi (the child goes on with this stack)
  ...[0x45, 0x31, 0xd2], //                         xor r10d, r10d
  ...[0x45, 0x31, 0xc0], //                         xor r8d, r8d
  ...[0xb8, 0x38, 0x00, 0x00, 0x00], //             mov eax, 56 (clone)
  ...[0x0f, 0x05], //                               syscall
  ...[0x85, 0xc0], //                               test eax, eax
  ...[0x74, 0x02], //                               jz entry
  ...[0x5b], //                                     pop rbx
  ...[0xc3], //                                     ret
  // entry: the child, which never returns. rbx: the entry
  ...[0x48, 0x8b, 0x7b, ScriptEntry.ARGUMENTS], //  mov rdi, [rbx + 8]
  ...[0x48, 0x8b, 0x73, 0x10], //                   mov rsi, [rbx + 16]
  ...[0x48, 0x8b, 0x53, 0x18], //                   mov rdx, [rbx + 24]
  ...[0x4c, 0x8b, 0x53, 0x20], //                   mov r10, [rbx + 32]
  ...[0x4c, 0x8b, 0x43, 0x28], //                   mov r8, [rbx + 40]
  ...[0x4c, 0x8b, 0x4b, 0x30], //                   mov r9, [rbx + 48]
  ...[0x48, 0x8b, 0x03], //                         mov rax, [rbx]
  ...[0x48, 0x85, 0xc0], //                         test rax, rax
  ...[0x78, 0x1b], //                               js copy
  ...[0x0f, 0x05], //                               syscall
  ...[0x48, 0x89, 0x43, ScriptEntry.RESULT], //     mov [rbx + 56], rax
  ...[0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff], //       cmp rax, -4095
  ...[0x72, 0x07], //                               jb next
  ...[0x48, 0x83, 0x7b, ScriptEntry.MAY_FAIL, 0], // cmp qword [rbx + 64], 0
  ...[0x74, 0x0e], //                               je fail
  // next:
  ...[0x48, 0x83, 0xc3, ScriptEntry.SIZE], //       add rbx, 72
  ...[0xeb, 0xc5], //                               jmp entry
  // copy:
  ...[0x48, 0x8b, 0x07], //                         mov rax, [rdi]
  ...[0x48, 0x89, 0x06], //                         mov [rsi], rax
  ...[0xeb, 0xf2], //                               jmp next
  // fail:
  ...[0xbf, SCRIPT_FAILED, 0x00, 0x00, 0x00], //    mov edi, 127
  ...[0xb8, 0xe7, 0x00, 0x00, 0x00], //             mov eax, 231 (exit_group)
  ...[0x0f, 0x05], //                               syscall
  ...[0x0f, 0x0b], //                               ud2
]);
