/** AML and resource descriptors byte by byte, against chapters 20 and 6 of the ACPI Specification 6.5. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as aml from "../../../src/vmm/acpi/aml.ts";
import {
  busNumbers,
  fixedMemory,
  interrupts,
  ioPorts,
  ioWindow,
  isaInterrupt,
  memoryWindow,
  resourceTemplate,
} from "../../../src/vmm/acpi/aml_resources.ts";

function hex(term: Uint8Array): string {
  return [...term].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

Deno.test("integers take the shortest prefix (20.2.3)", () => {
  const encodings: [number, string][] = [
    [0, "00"],
    [1, "01"],
    [2, "0a 02"],
    [0xff, "0a ff"],
    [0x100, "0b 00 01"],
    [0xffff, "0b ff ff"],
    [0x10000, "0c 00 00 01 00"],
    [0xffffffff, "0c ff ff ff ff"],
    [0x1_0000_0000, "0e 00 00 00 00 01 00 00 00"],
  ];
  for (const [value, encoding] of encodings) assertEquals(hex(aml.integer(value)), encoding);
});

Deno.test("names are padded to four characters and joined with a prefix (20.2.2)", () => {
  assertEquals(hex(aml.path("_SB")), "5f 53 42 5f");
  assertEquals(hex(aml.path("\\")), "5c 00");
  assertEquals(hex(aml.path("^^X")), "5e 5e 58 5f 5f 5f");
  assertEquals(hex(aml.path("\\_SB.PCI0")), "5c 2e 5f 53 42 5f 50 43 49 30");
  assertEquals(hex(aml.path("A.B.C")), "2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f");
});

Deno.test("names that AML cannot spell are refused", () => {
  for (const bad of ["abcd", "TOOLONG", "1ABC", "A..B", "A B"]) assertThrows(() => aml.path(bad), RangeError);
});

Deno.test("package lengths count their own bytes: one up to 63, two up to 4095, three up to 2^20 - 1 (20.2.4)", () => {
  const lengths = [62, 63, 4093, 4094, 0xffffc, 0xffffd].map((contents) => {
    // The op and a name of four bytes; the length counts the name and what follows.
    const term = aml.scope("TEST", new Uint8Array(contents - 4));
    return hex(term.subarray(1, 5)).split(" 54")[0];
  });
  assertEquals(lengths, ["3f", "41 04", "4f ff", "81 00 01", "8f ff ff", "c1 00 00 01"]);
});

Deno.test("a package length is what a reader skips by", () => {
  fc.assert(fc.property(fc.nat(70_000), (size) => {
    const term = aml.scope("TEST", new Uint8Array(size));
    const extra = term[1] >>> 6;
    let length = extra === 0 ? term[1] & 0x3f : term[1] & 0x0f;
    for (let i = 0; i < extra; i++) length |= term[2 + i] << (4 + 8 * i);
    assertEquals(1 + length, term.length);
  }));
});

Deno.test("EISA identifiers are compressed to 32 bits (19.6.35)", () => {
  assertEquals(hex(aml.eisaId("PNP0A03")), "0c 41 d0 0a 03");
  assertEquals(hex(aml.eisaId("PNP0C0F")), "0c 41 d0 0c 0f");
  assertEquals(hex(aml.eisaId("PNP0000")), "0b 41 d0");
  assertThrows(() => aml.eisaId("QEMU0002"), RangeError);
});

Deno.test("a UUID has its first three groups little-endian (19.6.142)", () => {
  assertEquals(
    hex(aml.uuid("33db4d5b-1ff7-401c-9657-7441c03dd766")),
    "11 13 0a 10 5b 4d db 33 f7 1f 1c 40 96 57 74 41 c0 3d d7 66",
  );
});

Deno.test("strings, buffers and packages", () => {
  assertEquals(hex(aml.string("AB")), "0d 41 42 00");
  assertEquals(hex(aml.buffer(Uint8Array.of(9))), "11 03 01 09");
  assertEquals(hex(aml.pkg(aml.integer(0), aml.integer(5))), "12 05 02 00 0a 05");
  assertThrows(() => aml.string("ä"), RangeError);
  assertThrows(() => aml.pkg(...Array(256).fill(aml.integer(0))), RangeError);
});

Deno.test("objects: Name, Scope, Device, Method", () => {
  assertEquals(hex(aml.name("_UID", aml.integer(1))), "08 5f 55 49 44 01");
  assertEquals(hex(aml.scope("_SB")), "10 05 5f 53 42 5f");
  assertEquals(hex(aml.device("RTC")), "5b 82 05 52 54 43 5f");
  assertEquals(hex(aml.method("_PIC", 1)), "14 06 5f 50 49 43 09");
});

Deno.test("an operation region and its fields, with a gap", () => {
  assertEquals(
    hex(aml.operationRegion("REGS", aml.RegionSpace.PCI_CONFIG, 0x60, 12)),
    "5b 80 52 45 47 53 02 0a 60 0a 0c",
  );
  assertEquals(
    hex(aml.field("REGS", { name: "LOW", bits: 8 }, { skipBits: 128 }, { name: "HIGH", bits: 8 })),
    "5b 81 13 52 45 47 53 01 4c 4f 57 5f 08 00 40 08 48 49 47 48 08",
  );
});

Deno.test("statements and operators", () => {
  const [a, b] = [aml.argument(0), aml.local(1)];
  assertEquals(hex(aml.store(a, b)), "70 68 61");
  assertEquals(hex(aml.and(a, aml.integer(1), b)), "7b 68 01 61");
  assertEquals(hex(aml.or(a, b)), "7d 68 61 00");
  assertEquals(hex(aml.notEqual(a, b)), "92 93 68 61");
  assertEquals(hex(aml.when(a, aml.giveBack(b))), "a0 04 68 a4 61");
  assertEquals(hex(aml.otherwise(aml.giveBack(b))), "a1 03 a4 61");
  assertEquals(hex(aml.createDwordField(a, 5, "CDW")), "8a 68 0a 05 43 44 57 5f");
});

Deno.test("a resource template ends with an end tag (6.4.2.9)", () => {
  assertEquals(hex(resourceTemplate()), "11 05 0a 02 79 00");
});

Deno.test("small descriptors: I/O ports and ISA interrupts (6.4.2)", () => {
  assertEquals(hex(ioPorts(0x3f8, 8)), "47 01 f8 03 f8 03 01 08");
  assertEquals(hex(isaInterrupt(4)), "22 10 00");
  assertEquals(hex(isaInterrupt(12)), "22 00 10");
});

Deno.test("large descriptors: memory and interrupts (6.4.3)", () => {
  assertEquals(hex(fixedMemory(0xb000_0000, 0x1000_0000)), "86 09 00 01 00 00 00 b0 00 00 00 10");
  assertEquals(hex(interrupts(5, 10)), "89 0a 00 09 02 05 00 00 00 0a 00 00 00");
});

Deno.test("address space descriptors have the width that they need (6.4.3.5)", () => {
  assertEquals(hex(busNumbers(0, 255)), "88 0d 00 02 0c 00 00 00 00 00 ff 00 00 00 00 01");
  assertEquals(hex(ioWindow(0xd00, 0xffff)), "88 0d 00 01 0c 03 00 00 00 0d ff ff 00 00 00 f3");
  assertEquals(
    hex(memoryWindow(0xc000_0000, 0xfebf_ffff)),
    "87 17 00 00 0c 01 00 00 00 00 00 00 00 c0 ff ff bf fe 00 00 00 00 00 00 c0 3e",
  );
  assertEquals(
    hex(memoryWindow(0x1_4000_0000, 0xff_ffff_ffff, { cacheable: true })),
    "8a 2b 00 00 0c 03 00 00 00 00 00 00 00 00 00 00 00 40 01 00 00 00 ff ff ff ff ff 00 00 00 " +
      "00 00 00 00 00 00 00 00 00 00 00 c0 fe 00 00 00",
  );
});
