/**
 * Any system call with any arguments, for programs that try what splitvm never does.
 *
 * @module
 */
import { closeFd, writeFd } from "../../src/ffi/file.ts";
import { type CallName, CallNumber } from "../../src/ffi/jail/call_numbers.ts";
import { addressOf, createMemoryFile } from "../../src/ffi/memory.ts";
import { buildStubLibrary } from "../../src/ffi/stub_library.ts";

/** `long raw(long number, long a, … long f)`: the calling convention of functions (System V ABI) becomes that of system calls. */
const RAW = Uint8Array.from([
  ...[0x48, 0x89, 0xf8], //             mov rax, rdi
  ...[0x48, 0x89, 0xf7], //             mov rdi, rsi
  ...[0x48, 0x89, 0xd6], //             mov rsi, rdx
  ...[0x48, 0x89, 0xca], //             mov rdx, rcx
  ...[0x4d, 0x89, 0xc2], //             mov r10, r8
  ...[0x4d, 0x89, 0xc8], //             mov r8, r9
  ...[0x4c, 0x8b, 0x4c, 0x24, 0x08], // mov r9, [rsp + 8]
  ...[0x0f, 0x05], //                   syscall
  ...[0xc3], //                         ret
]);

const PAGE = 4096;

const PROTOTYPE = { parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], result: "i64" } as const;
/** The same on a thread of Deno's pool. */
const ELSEWHERE = { ...PROTOTYPE, name: "raw", nonblocking: true } as const;

function open() {
  const image = buildStubLibrary([{ name: "raw", code: RAW }], "raw-syscall");
  const fd = createMemoryFile("raw-syscall", PAGE * Math.ceil(image.length / PAGE), false);
  try {
    writeFd(fd, image);
    // libc takes a library for one that it has by its path, and it has had one from /proc/self/fd.
    return Deno.dlopen(`/proc/thread-self/fd/${fd}`, { raw: PROTOTYPE, elsewhere: ELSEWHERE }).symbols;
  } finally {
    closeFd(fd);
  }
}

let opened: ReturnType<typeof open> | undefined;

/** Makes it possible to call while files can still be opened. */
export function prepareRawSyscalls(): void {
  opened ??= open();
}

/** What a system call is given; buffers are by their address. */
export type RawArgument = number | bigint | Uint8Array<ArrayBuffer>;

function wordsOf(name: CallName, args: readonly RawArgument[]) {
  const words = Array.from({ length: 6 }, (_, i) => {
    const argument = args[i] ?? 0;
    return argument instanceof Uint8Array ? addressOf(argument) : BigInt(argument);
  });
  const [a, b, c, d, e, f] = words;
  return [BigInt(CallNumber[name]), a, b, c, d, e, f] as const;
}

/** Makes a system call. @returns what the kernel returns: `-errno` on failure. */
export function rawSyscall(name: CallName, ...args: readonly RawArgument[]): number {
  prepareRawSyscalls();
  return Number(opened!.raw(...wordsOf(name, args)));
}

/** The same on a thread of the pool that Deno keeps for calls that block. */
export async function rawSyscallElsewhere(name: CallName, ...args: readonly RawArgument[]): Promise<number> {
  prepareRawSyscalls();
  return Number(await opened!.elsewhere(...wordsOf(name, args)));
}
