import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { assemble, type AssembleOptions, AssemblyError } from "../../../guests/assembler/mod.ts";

const bytesOf = (source: string, options?: AssembleOptions) => [...assemble(source, options).bytes];

function assertRefused(source: string, message: string, options?: AssembleOptions): void {
  const error = assertThrows(() => assemble(source, options), AssemblyError, undefined, source);
  assertEquals(error.message, message);
}

Deno.test("a jump is short as long as its target is within 127 bytes behind it, and near from then on", () => {
  assertEquals(bytesOf("jmp there\ntimes 127 nop\nthere:").slice(0, 3), [0xeb, 0x7f, 0x90]);
  assertEquals(bytesOf("jmp there\ntimes 128 nop\nthere:").slice(0, 4), [0xe9, 0x80, 0x00, 0x90]);
  assertEquals(bytesOf("there: times 126 nop\njmp there").slice(126), [0xeb, 0x80]);
  assertEquals(bytesOf("there: times 127 nop\njmp there").slice(127), [0xe9, 0x7e, 0xff]);
});

Deno.test("jumps that make one another longer settle", () => {
  // Each jump fits only as long as the other is short: 126 + 2 bytes are one too many for both.
  const { bytes } = assemble("a: jz b\ntimes 126 nop\njnz a\nb:");
  assertEquals(bytes.length, 4 + 126 + 4);
});

Deno.test("conditional jumps have a near form, loops do not", () => {
  assertEquals(bytesOf("jz there\ntimes 200 nop\nthere:").slice(0, 4), [0x0f, 0x84, 200, 0]);
  assertRefused("loop there\ntimes 200 nop\nthere:", "line 1: the target is 200 bytes away, out of reach of 8 bits");
});

Deno.test("org moves addresses, not output", () => {
  const { bytes, symbols } = assemble("org 0x7c00\nnop\nhere: dw here, $, $$");
  assertEquals([...bytes], [0x90, 0x01, 0x7c, 0x01, 0x7c, 0x00, 0x7c]);
  assertEquals(symbols.get("here"), 0x7c01);
});

Deno.test("local labels belong to the label before them", () => {
  const { symbols } = assemble("one: nop\n.x: nop\ntwo: nop\n.x: jmp one.x");
  assertEquals([...symbols], [["one", 0], ["one.x", 1], ["two", 2], ["two.x", 3]]);
});

Deno.test("data directives write little-endian numbers, and pad strings to their unit", () => {
  assertEquals(bytesOf("db 1, 'ab', \"c;d\", -1"), [1, 0x61, 0x62, 0x63, 0x3b, 0x64, 0xff]);
  assertEquals(bytesOf("dw 0x1234, 'abc'"), [0x34, 0x12, 0x61, 0x62, 0x63, 0]);
  assertEquals(bytesOf("dd 0x12345678"), [0x78, 0x56, 0x34, 0x12]);
  assertEquals(bytesOf("dq 1 << 40"), [0, 0, 0, 0, 0, 1, 0, 0]);
  assertEquals(bytesOf("db `a\\n\\0\\\\`, 0"), [0x61, 0x0a, 0, 0x5c, 0]);
  assertEquals(bytesOf("resw 2\nname db 7"), [0, 0, 0, 0, 7]);
});

Deno.test("times takes an expression of addresses, as boot sectors need it", () => {
  const { bytes } = assemble("org 0x7c00\njmp there\ntimes 300 nop\nthere:\ntimes 510-($-$$) db 0\ndw 0xaa55");
  assertEquals(bytes.length, 512);
  assertEquals([...bytes.subarray(510)], [0x55, 0xaa]);
});

Deno.test("align fills with nops, or with the byte that is given", () => {
  assertEquals(bytesOf("db 1\nalign 4\ndb 2"), [1, 0x90, 0x90, 0x90, 2]);
  assertEquals(bytesOf("db 1\nalign 4, db 0\ndb 2\nalign 1"), [1, 0, 0, 0, 2]);
});

Deno.test("expressions have C's operators in NASM's order", () => {
  assertEquals(bytesOf("db 2 + 3 * 4, (2 + 3) * 4, 1 | 2 & 3 << 1, 7 % 4, ~0 & 0xf, -(-5), 'A' + 1"), [
    14,
    20,
    3,
    3,
    15,
    5,
    0x42,
  ]);
  assertEquals(bytesOf("x equ y * 2\ny equ 21\ndb x, z", { constants: { z: 9 } }), [42, 9]);
});

Deno.test("macros take arguments and have labels of their own", () => {
  const source = "%macro twice 2\n%%again: mov %1, %2\njmp %%again\n%endmacro\ntwice al, [bx+1]\ntwice cl, ','";
  assertEquals(bytesOf(source), [0x8a, 0x47, 1, 0xeb, 0xfb, 0xb1, 0x2c, 0xeb, 0xfc]);
});

Deno.test("included files are found by name, and mistakes in them name the file", () => {
  const files = { "one.asm": "db 1", "bad.asm": "nop\nmov al, ax" };
  assertEquals(bytesOf('%include "one.asm"\ndb 2', { files }), [1, 2]);
  assertRefused('%include "bad.asm"', "bad.asm, line 2: mov does not take these operands", { files });
  assertRefused('%include "none.asm"', "line 1: there is no file none.asm", { files });
  assertRefused('%include "toString"', "line 1: there is no file toString", { files });
});

Deno.test("each mistake is one line with its place", () => {
  const cases: [source: string, message: string][] = [
    ["nop\nfrobnicate ax", "line 2: unknown instruction frobnicate"],
    ["mov al, 256", "line 1: value 0x100 does not fit in 8 bits"],
    ["mov al, -129", "line 1: value -0x81 does not fit in 8 bits"],
    ["mov [bx], 5", "line 1: the width of the memory operand is missing: byte, word, dword or qword"],
    ["mov ax, ebx", "line 1: the operands differ in width"],
    ["mov ax, [bx+cx]", "line 1: [bx + cx] is not a 16-bit address"],
    ["mov ax, [eax+bx]", "line 1: eax and bx differ in width"],
    ["mov ax, [esp*2]", "line 1: esp cannot be an index register"],
    ["mov ax, [eax*3]", "line 1: the scale of an index register is 1, 2, 4 or 8"],
    ["mov rax, 1", "line 1: 64-bit operands exist in 64-bit mode only"],
    ["syscall", "line 1: syscall exists in 64-bit mode only"],
    ["bits 64\npusha", "line 2: pusha does not exist in 64-bit mode"],
    ["bits 64\npush eax", "line 2: push has no 32-bit form in 64-bit mode"],
    ["bits 64\nmov ah, sil", "line 2: ah cannot be used together with a REX prefix"],
    ["jmp nowhere", "line 1: nowhere is not defined"],
    ["a:\na:", "line 2: a is defined twice"],
    ["ax: nop", "line 1: ax is a register"],
    ["db 'abc", "line 1: string without its closing quote"],
    ["db 1 / 0", "line 1: division by zero"],
    ["db (1", "line 1: a closing parenthesis is missing"],
    ["db 12ab", "line 1: 12ab is not a number"],
    ["times -1 nop", "line 1: a count of -1"],
    ["nop\norg 5", "line 2: org after the first byte of output"],
    ["%macro m 1\nm %1\n%endmacro\nm 1", "line 4: m uses itself without end"],
    ["%macro m 1\nnop", "line 1: %macro without %endmacro"],
    ["%macro m 1\n%endmacro\nm 1, 2", "line 3: m takes 1 arguments, not 2"],
    ["mov byte ax, 1", "line 1: ax has 16 bits, not 8"],
    ["bits 8", "line 1: bits takes 16, 32 or 64"],
    ["a equ a + 1", "line 1: a is not defined"],
    ["db €", 'line 1: unexpected character "€"'],
  ];
  for (const [source, message] of cases) assertRefused(source, message);
});

Deno.test("no source text makes the assembler do anything but assemble or report its line", () => {
  const word = fc.constantFrom(
    ..."mov add jmp times db equ org bits [ ] ( ) , : + - * $ $$ ax eax rax x 1 0xff 'a' byte far %macro %1 ; `".split(
      " ",
    ),
  );
  const line = fc.array(word, { maxLength: 8 }).map((words) => words.join(" "));
  fc.assert(fc.property(fc.array(line, { maxLength: 5 }), fc.constantFrom(16, 32, 64), (lines, bits) => {
    try {
      assert(assemble(lines.join("\n"), { bits }).bytes.length >= 0);
    } catch (error) {
      if (!(error instanceof AssemblyError)) throw error;
      assert(!error.message.includes("\n"));
    }
  }));
});
