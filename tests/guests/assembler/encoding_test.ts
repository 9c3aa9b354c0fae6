import { assertEquals } from "@std/assert";
import { assemble } from "../../../guests/assembler/mod.ts";

type Cases = readonly (readonly [source: string, bytes: string])[];

function check(bits: 16 | 32 | 64, cases: Cases): void {
  for (const [source, expected] of cases) {
    const { bytes } = assemble(source, { bits });
    const actual = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    assertEquals(actual, expected.toLowerCase(), `${source} in ${bits}-bit mode`);
  }
}

// Expected bytes are worked out from the opcode, ModRM and prefix tables of the Intel SDM, volume 2.

Deno.test("32-bit operands and addresses need no prefix in 32-bit mode, and 66 and 67 in 16-bit mode", () => {
  check(32, [
    ["mov eax, ebx", "89 d8"],
    ["mov ax, bx", "66 89 d8"],
    ["mov eax, [ebx]", "8b 03"],
    ["mov eax, [bx]", "67 8b 07"],
  ]);
  check(16, [
    ["mov ax, bx", "89 d8"],
    ["mov eax, ebx", "66 89 d8"],
    ["mov ax, [bx]", "8b 07"],
    ["mov eax, [ebx]", "67 66 8b 03"],
  ]);
});

Deno.test("16-bit addresses take the eight register combinations of SDM table 2-1", () => {
  check(16, [
    ["mov al, [bx+si]", "8a 00"],
    ["mov al, [bx+di]", "8a 01"],
    ["mov al, [bp+si]", "8a 02"],
    ["mov al, [bp+di]", "8a 03"],
    ["mov al, [si]", "8a 04"],
    ["mov al, [di]", "8a 05"],
    ["mov al, [bp]", "8a 46 00"],
    ["mov al, [bx]", "8a 07"],
    ["mov cl, [0x1234]", "8a 0e 34 12"],
    ["mov al, [si+bx+0x7f]", "8a 40 7f"],
    ["mov al, [bx-0x80]", "8a 47 80"],
    ["mov al, [bx+0x80]", "8a 87 80 00"],
    ["mov al, [bx+0xffff]", "8a 47 ff"],
  ]);
});

Deno.test("32-bit addresses take base, scaled index and the shortest displacement (SDM tables 2-2 and 2-3)", () => {
  check(32, [
    ["mov ecx, [eax]", "8b 08"],
    ["mov ecx, [esp]", "8b 0c 24"],
    ["mov ecx, [ebp]", "8b 4d 00"],
    ["mov ecx, [eax+ebx*4]", "8b 0c 98"],
    ["mov ecx, [ebp+esi*2]", "8b 4c 75 00"],
    ["mov ecx, [esi*8]", "8b 0c f5 00 00 00 00"],
    ["mov ecx, [esi*2]", "8b 0c 36"],
    ["mov ecx, [ebp*2]", "8b 0c 6d 00 00 00 00"],
    ["mov ecx, [eax+esp]", "8b 0c 04"],
    ["mov ecx, [0x12345678]", "8b 0d 78 56 34 12"],
    ["mov ecx, [eax+127]", "8b 48 7f"],
    ["mov ecx, [eax+128]", "8b 88 80 00 00 00"],
    ["mov ecx, [eax-128]", "8b 48 80"],
    ["mov ecx, [eax+0xfffffff0]", "8b 48 f0"],
    ["mov ecx, [2*4+eax-(3+1)]", "8b 48 04"],
  ]);
});

Deno.test("64-bit mode takes REX prefixes, RIP-relative and absolute addresses (SDM section 2.2.1)", () => {
  check(64, [
    ["mov rax, rbx", "48 89 d8"],
    ["mov r8, r15", "4d 89 f8"],
    ["mov r9d, [r12]", "45 8b 0c 24"],
    ["mov r9d, [r13]", "45 8b 4d 00"],
    ["mov al, [rax+r12*2]", "42 8a 04 60"],
    ["mov sil, 1", "40 b6 01"],
    ["mov rcx, [rel $]", "48 8b 0d f9 ff ff ff"],
    ["mov ecx, [abs 0x1000]", "8b 0c 25 00 10 00 00"],
    ["mov eax, [ecx]", "67 8b 01"],
    ["default rel\nmov dword [$ + 10], 5", "c7 05 00 00 00 00 05 00 00 00"],
    ["movzx r10d, byte [rdi]", "44 0f b6 17"],
    ["movsxd rax, ecx", "48 63 c1"],
  ]);
});

Deno.test("immediates take the shortest form that keeps their value", () => {
  check(32, [
    ["add eax, 5", "83 c0 05"],
    ["add eax, 0x80", "05 80 00 00 00"],
    ["add eax, -128", "83 c0 80"],
    ["add eax, 0xffffff80", "83 c0 80"],
    ["add ebx, 0x80", "81 c3 80 00 00 00"],
    ["push 5", "6a 05"],
    ["push 0x1234", "68 34 12 00 00"],
    ["push word 5", "66 6a 05"],
    ["imul eax, ebx, 10", "6b c3 0a"],
    ["test byte [ebx], 0x20", "f6 03 20"],
  ]);
  check(64, [
    ["mov rax, -1", "48 c7 c0 ff ff ff ff"],
    ["mov rax, 0x80000000", "48 b8 00 00 00 80 00 00 00 00"],
    ["mov rax, 0x123456789abcdef0", "48 b8 f0 de bc 9a 78 56 34 12"],
    ["and rsp, -16", "48 83 e4 f0"],
  ]);
});

Deno.test("stack and branch instructions default to 64 bits in 64-bit mode", () => {
  check(64, [
    ["push rax", "50"],
    ["pop r12", "41 5c"],
    ["push qword [rax]", "ff 30"],
    ["pushfq", "9c"],
    ["ret", "c3"],
    ["iretq", "48 cf"],
    ["retf", "cb"],
    ["o64 retf", "48 cb"],
    ["jmp rax", "ff e0"],
    ["call [rax]", "ff 10"],
  ]);
});

Deno.test("segment, control and debug registers move as SDM's MOV entries say", () => {
  check(32, [
    ["mov ds, ax", "8e d8"],
    ["mov ds, eax", "8e d8"],
    ["mov eax, ss", "8c d0"],
    ["mov [ebx], fs", "8c 23"],
    ["mov eax, cr0", "0f 20 c0"],
    ["mov cr3, eax", "0f 22 d8"],
    ["mov dr7, ecx", "0f 23 f9"],
    ["push fs", "0f a0"],
    ["lds esi, [eax]", "c5 30"],
  ]);
  check(64, [
    ["mov cr8, rax", "44 0f 22 c0"],
    ["mov rax, cr4", "0f 20 e0"],
  ]);
});

Deno.test("far transfers carry offset, then selector, in the operand size", () => {
  check(16, [
    ["jmp 0x10:0x1234", "ea 34 12 10 00"],
    ["jmp dword 8:0x12345678", "66 ea 78 56 34 12 08 00"],
    ["jmp far [bx]", "ff 2f"],
    ["retf", "cb"],
    ["o32 retf", "66 cb"],
  ]);
  check(32, [
    ["jmp 8:0x12345678", "ea 78 56 34 12 08 00"],
    ["call far [eax]", "ff 18"],
    ["jmp word far [eax]", "66 ff 28"],
  ]);
});

Deno.test("port, string and prefix instructions", () => {
  check(32, [
    ["in al, 0x60", "e4 60"],
    ["in eax, dx", "ed"],
    ["in ax, dx", "66 ed"],
    ["out 0x80, al", "e6 80"],
    ["out dx, eax", "ef"],
    ["rep movsd", "f3 a5"],
    ["rep stosw", "f3 66 ab"],
    ["repne scasb", "f2 ae"],
    ["rep insb", "f3 6c"],
    ["rep outsw", "f3 66 6f"],
    ["lock cmpxchg [eax], ecx", "f0 0f b1 08"],
    ["mov al, [es:edi]", "26 8a 07"],
    ["es lodsb", "26 ac"],
    ["a16 rep movsb", "f3 67 a4"],
  ]);
  check(64, [["rep movsq", "f3 48 a5"], ["lock inc qword [rax]", "f0 48 ff 00"]]);
});

Deno.test("system instructions", () => {
  check(32, [
    ["lgdt [eax]", "0f 01 10"],
    ["lidt [eax]", "0f 01 18"],
    ["ltr ax", "0f 00 d8"],
    ["invlpg [eax]", "0f 01 38"],
    ["cpuid", "0f a2"],
    ["rdtsc", "0f 31"],
    ["rdmsr", "0f 32"],
    ["wrmsr", "0f 30"],
    ["hlt", "f4"],
    ["pause", "f3 90"],
    ["ud2", "0f 0b"],
    ["int 0x13", "cd 13"],
  ]);
  check(16, [["o32 lgdt [0x7c00]", "66 0f 01 16 00 7c"]]);
  check(64, [["syscall", "0f 05"], ["swapgs", "0f 01 f8"], ["cmpxchg16b [rdi]", "48 0f c7 0f"]]);
});

Deno.test("shifts, bit operations and conditions", () => {
  check(32, [
    ["shl eax, 1", "d1 e0"],
    ["shr byte [eax], cl", "d2 28"],
    ["sar ebx, 7", "c1 fb 07"],
    ["ror al, 3", "c0 c8 03"],
    ["bswap ecx", "0f c9"],
    ["bt dword [eax], 5", "0f ba 20 05"],
    ["sete al", "0f 94 c0"],
    ["setnae [eax]", "0f 92 00"],
    ["cmovg eax, [ebx]", "0f 4f 03"],
    ["xchg eax, [ebx]", "87 03"],
    ["xchg eax, ecx", "91"],
    ["xchg ecx, eax", "91"],
    ["xchg eax, eax", "87 c0"],
    ["not dword [eax]", "f7 10"],
    ["neg al", "f6 d8"],
    ["div ecx", "f7 f1"],
  ]);
});

Deno.test("a byte register that needs REX and one that REX takes away do not go together", () => {
  check(64, [["mov al, sil", "40 88 f0"], ["mov ah, bl", "88 dc"]]);
});
