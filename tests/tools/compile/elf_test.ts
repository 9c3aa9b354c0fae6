import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { addSegment, ElfError, findSymbolSlot, placeSegment, readElf } from "../../../tools/compile/elf.ts";
import {
  ENTRY,
  ENVIRON_SLOT,
  HEADERS,
  MEMORY_END,
  NO_NOTE,
  NOTE_FIRST,
  PT_LOAD,
  PT_NOTE,
  syntheticElf,
} from "./synthetic_elf.ts";

const CONTENT = new TextEncoder().encode("the segment's bytes");
const PF_R_X = 5;

const extended = (headers = HEADERS) => addSegment(readElf(syntheticElf(headers)), ".added", CONTENT);
const view = (bytes: Uint8Array<ArrayBuffer>) => new DataView(bytes.buffer);

/** The program with some of its bytes replaced. */
function patched(at: number, ...values: number[]): Uint8Array<ArrayBuffer> {
  const bytes = syntheticElf();
  bytes.set(values, at);
  return bytes;
}

Deno.test("readElf reads the entry point and the program headers", () => {
  const program = readElf(syntheticElf());
  assertEquals(program.entry, ENTRY);
  assertEquals(program.segments.map(({ type }) => type), HEADERS.map(([type]) => type));
});

for (
  const [what, bytes, message] of [
    ["a script", new TextEncoder().encode("#!/usr/bin/env node\n".repeat(10)), "Not an ELF file"],
    ["an empty file", new Uint8Array(), "Not an ELF file"],
    ["a 32-bit program", patched(4, 1), "Not a 64-bit little-endian ELF file"],
    ["a big-endian program", patched(5, 2), "Not a 64-bit little-endian ELF file"],
    ["a program for AArch64", patched(18, 183), "Not a program for x86-64"],
    ["a program with a fixed address", patched(16, 2), "Not a position-independent program"],
    ["a file that ends within its program headers", syntheticElf().slice(0, 100), "The file ends before offset"],
  ] as const
) {
  Deno.test(`readElf refuses ${what}`, () => {
    assertThrows(() => readElf(bytes), ElfError, message);
  });
}

Deno.test("A segment is placed on pages of its own, behind the file and behind every segment's memory", () => {
  const program = readElf(syntheticElf());
  const { offset, address } = placeSegment(program);
  assertEquals([offset % 4096, address % 4096], [0, 0]);
  assert(offset >= program.bytes.length);
  assert(address >= MEMORY_END);
});

Deno.test("The added segment takes the note's program header", () => {
  const program = readElf(extended());
  assertEquals(program.segments.length, HEADERS.length);
  assert(!program.segments.some(({ type }) => type === PT_NOTE));
});

for (const [order, headers] of [["last", HEADERS], ["first", NOTE_FIRST]] as const) {
  Deno.test(`Loadable segments ascend by address where the note came ${order}`, () => {
    const loads = readElf(extended(headers)).segments.filter(({ type }) => type === PT_LOAD);
    assertEquals(loads.length, 3);
    assertEquals(loads.map(({ address }) => address), loads.map(({ address }) => address).toSorted((a, b) => a - b));
  });
}

Deno.test("The added segment is readable and executable, holds the content and is entered at its first byte", () => {
  const bytes = extended();
  const { entry, segments } = readElf(bytes);
  const added = segments.filter(({ type }) => type === PT_LOAD).at(-1)!;
  assertEquals(added.flags, PF_R_X);
  assertEquals(entry, added.address);
  assertEquals([added.fileSize, added.memorySize], [CONTENT.length, CONTENT.length]);
  assertEquals(bytes.slice(added.offset, added.offset + added.fileSize), CONTENT);
});

Deno.test("A section of the given name covers the added segment", () => {
  const bytes = extended();
  const table = Number(view(bytes).getBigUint64(40, true));
  const count = view(bytes).getUint16(60, true);
  const header = (index: number, field: number) => Number(view(bytes).getBigUint64(table + 64 * index + field, true));
  const names = header(view(bytes).getUint16(62, true), 24);
  const nameOf = (index: number) => {
    const at = names + view(bytes).getUint32(table + 64 * index, true);
    return new TextDecoder().decode(bytes.slice(at, bytes.indexOf(0, at)));
  };

  assertEquals([nameOf(1), nameOf(count - 1)], [".shstrtab", ".added"]);
  const added = readElf(bytes).segments.filter(({ type }) => type === PT_LOAD).at(-1)!;
  assertEquals([16, 24, 32].map((field) => header(count - 1, field)), [added.address, added.offset, added.fileSize]);
});

Deno.test("The original bytes stay where they were, but for the headers", () => {
  const original = syntheticElf();
  const headersEnd = 64 + 56 * HEADERS.length;
  assertEquals(extended().slice(headersEnd, original.length), original.slice(headersEnd));
});

Deno.test("A program without a note cannot take a segment", () => {
  assertThrows(() => extended(NO_NOTE), ElfError, "PT_NOTE");
});

Deno.test("A program without section headers cannot take a segment", () => {
  assertThrows(() => addSegment(readElf(patched(40, 0, 0)), ".added", CONTENT), ElfError, "section headers");
});

Deno.test("findSymbolSlot finds the word that is relocated with exactly that symbol's address", () => {
  assertEquals(findSymbolSlot(readElf(syntheticElf()), "environ"), ENVIRON_SLOT);
});

Deno.test("findSymbolSlot names a symbol that the program does not use", () => {
  assertThrows(() => findSymbolSlot(readElf(syntheticElf()), "stdout"), ElfError, "stdout");
});

Deno.test("A damaged program is refused with an ElfError, if at all", () => {
  const change = fc.tuple(fc.nat(0x117f), fc.nat(255));
  fc.assert(fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), fc.nat(0x1200), (changes, length) => {
    const bytes = syntheticElf().slice(0, length);
    for (const [at, value] of changes) if (at < length) bytes[at] = value;
    try {
      const program = readElf(bytes);
      findSymbolSlot(program, "environ");
      addSegment(program, ".added", CONTENT);
    } catch (error) {
      assert(error instanceof ElfError, `${error}`);
    }
  }));
});
