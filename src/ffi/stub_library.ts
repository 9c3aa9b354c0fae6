/**
 * Builds, in memory, the ELF shared object whose functions are bare system calls.
 *
 * libc's wrappers report errors through the thread's `errno`, which V8's garbage collector (madvise, mmap, futex)
 * overwrites between two FFI calls. A stub that returns the kernel's own `-errno` needs no second call. It is a dozen
 * bytes of machine code for each system call, exported under a name, so that `Deno.dlopen` gives every prototype its own
 * fast call.
 *
 * Layout of the object (System V ABI, AMD64 supplement; generic ABI chapters 4 and 5): one read-execute page range
 * with headers, hash table, symbols, strings and code, then one read-write page with the dynamic section.
 *
 * @module
 */

/** One exported function that makes one system call: its name and the call's number (asm/unistd_64.h). */
export interface SyscallStub {
  readonly name: string;
  readonly number: number;
}

/** One exported function that is more than a system call: its name and its machine code, which must not depend on where it is. */
export interface CodeStub {
  readonly name: string;
  readonly code: Uint8Array;
}

/** One exported function. */
export type Stub = SyscallStub | CodeStub;

const PAGE = 4096;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SYM_SIZE = 24;
/** Where functions begin. A system call takes one such unit. */
const STUB_ALIGNMENT = 16;

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
/** Without this header glibc would make every stack executable. */
const PT_GNU_STACK = 0x6474e551;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;

const DT_NULL = 0;
const DT_HASH = 4;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_STRSZ = 10;
const DT_SYMENT = 11;
const DT_SONAME = 14;

const align = (value: number, to: number) => Math.ceil(value / to) * to;

/** `mov eax, number; mov r10, rcx; syscall; ret`: the C and the kernel convention differ in the fourth argument only. */
function syscallCode(number: number): Uint8Array {
  const code = Uint8Array.of(0xb8, 0, 0, 0, 0, 0x49, 0x89, 0xca, 0x0f, 0x05, 0xc3);
  new DataView(code.buffer).setUint32(1, number, true);
  return code;
}

/** The functions one behind the other, with traps (`int3`) between them, and the offset of each. */
function layOutCode(stubs: readonly Stub[]): { bytes: Uint8Array; functions: { offset: number; size: number }[] } {
  const pieces = stubs.map((stub) => "code" in stub ? stub.code : syscallCode(stub.number));
  const functions: { offset: number; size: number }[] = [];
  let end = 0;
  for (const { length } of pieces) {
    functions.push({ offset: end, size: length });
    end += align(length, STUB_ALIGNMENT);
  }
  const bytes = new Uint8Array(end).fill(0xcc);
  functions.forEach(({ offset }, i) => bytes.set(pieces[i], offset));
  return { bytes, functions };
}

/** The string table and the offset of each name in it. */
function stringTable(names: readonly string[]): { bytes: Uint8Array; offsets: number[] } {
  const offsets: number[] = [];
  let text = "\0";
  for (const name of names) {
    offsets.push(text.length);
    text += name + "\0";
  }
  return { bytes: new TextEncoder().encode(text), offsets };
}

/** Writes 64-bit little-endian fields that all fit 53 bits. */
class Writer {
  readonly view: DataView<ArrayBuffer>;
  constructor(size: number) {
    this.view = new DataView(new ArrayBuffer(size));
  }
  u16(at: number, ...values: number[]) {
    values.forEach((value, i) => this.view.setUint16(at + 2 * i, value, true));
  }
  u32(at: number, ...values: number[]) {
    values.forEach((value, i) => this.view.setUint32(at + 4 * i, value, true));
  }
  u64(at: number, ...values: number[]) {
    values.forEach((value, i) => this.view.setBigUint64(at + 8 * i, BigInt(value), true));
  }
  bytes(at: number, bytes: Uint8Array) {
    new Uint8Array(this.view.buffer).set(bytes, at);
  }
}

/**
 * The bytes of a shared object that exports one function for each stub.
 *
 * @param stubs The functions; names must be unique.
 * @param soname The name by which `dlopen` finds the object when a process has it loaded, wherever its file is.
 */
export function buildStubLibrary(stubs: readonly Stub[], soname: string): Uint8Array<ArrayBuffer> {
  const code = layOutCode(stubs);
  const strings = stringTable([...stubs.map((stub) => stub.name), soname]);
  const symbolCount = stubs.length + 1; // entry 0 is reserved
  const programHeaders = 4;

  const hashAt = EHDR_SIZE + programHeaders * PHDR_SIZE;
  const hashSize = 4 * (2 + 1 + symbolCount); // nbucket, nchain, one bucket, the chain
  const symbolsAt = align(hashAt + hashSize, 8);
  const stringsAt = symbolsAt + symbolCount * SYM_SIZE;
  const codeAt = align(stringsAt + strings.bytes.length, STUB_ALIGNMENT);
  const textSize = codeAt + code.bytes.length;
  const dynamicAt = align(textSize, PAGE);
  const dynamicSize = 7 * 16;

  const elf = new Writer(dynamicAt + dynamicSize);
  elf.bytes(0, Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1)); // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
  elf.u16(16, 3, 62); // ET_DYN, EM_X86_64
  elf.u32(20, 1);
  elf.u64(32, EHDR_SIZE); // e_phoff
  elf.u16(52, EHDR_SIZE, PHDR_SIZE, programHeaders, 64);

  const segments: [type: number, flags: number, at: number, size: number, align: number][] = [
    [PT_LOAD, PF_R | PF_X, 0, textSize, PAGE],
    [PT_LOAD, PF_R | PF_W, dynamicAt, dynamicSize, PAGE],
    [PT_DYNAMIC, PF_R | PF_W, dynamicAt, dynamicSize, 8],
    [PT_GNU_STACK, PF_R | PF_W, 0, 0, 16],
  ];
  segments.forEach(([type, flags, at, size, alignment], i) => {
    const header = EHDR_SIZE + i * PHDR_SIZE;
    elf.u32(header, type, flags);
    elf.u64(header + 8, at, at, at, size, size, alignment);
  });

  // One bucket, so the names' hash values do not matter: the chain visits every symbol.
  elf.u32(hashAt, 1, symbolCount, 1);
  for (let i = 1; i < symbolCount; i++) {
    elf.u32(hashAt + 12 + 4 * i, i + 1 < symbolCount ? i + 1 : 0);
  }

  code.functions.forEach(({ offset, size }, i) => {
    const symbol = symbolsAt + (i + 1) * SYM_SIZE;
    elf.u32(symbol, strings.offsets[i]);
    elf.u16(symbol + 4, 0x12, 1); // STB_GLOBAL|STT_FUNC; any defined section index
    elf.u64(symbol + 8, codeAt + offset, size);
  });
  elf.bytes(stringsAt, strings.bytes);
  elf.bytes(codeAt, code.bytes);

  elf.u64(
    dynamicAt,
    ...[DT_HASH, hashAt, DT_STRTAB, stringsAt, DT_SYMTAB, symbolsAt],
    ...[DT_STRSZ, strings.bytes.length, DT_SYMENT, SYM_SIZE, DT_SONAME, strings.offsets.at(-1)!, DT_NULL, 0],
  );
  return new Uint8Array(elf.view.buffer);
}
