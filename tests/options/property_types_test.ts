import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  ascii,
  bool,
  descriptor,
  identifier,
  integer,
  milliseconds,
  oneOf,
  path,
  pciSlot,
  type PropertyType,
  size,
  text,
  uint64,
} from "../../src/options/property_types.ts";

function accepts<T>(type: PropertyType<T>, accepted: Record<string, T>, refused: string[]): void {
  for (const [text, value] of Object.entries(accepted)) assertEquals(type.parse(text), value, text);
  for (const text of refused) assertEquals(type.parse(text), undefined, text);
}

Deno.test("truth values are on and off", () => {
  accepts(bool, { on: true, yes: true, true: true, y: true, off: false, no: false, false: false, n: false }, [
    "",
    "1",
    "ON",
    "ye",
  ]);
});

Deno.test("identifiers are a letter, then letters, digits and -._", () => {
  accepts(identifier, { lsi0: "lsi0", "a-b.c_D": "a-b.c_D" }, ["", "0a", "-a", "a b", "a/b", "é", "a".repeat(65)]);
});

Deno.test("text and paths are not empty and have no NUL", () => {
  accepts(text, { "a b": "a b" }, ["", "a\0"]);
  accepts(path, { "/dev/sda": "/dev/sda", "a,b=c": "a,b=c" }, ["", "a\0b"]);
});

Deno.test("SCSI text is printable ASCII of limited length", () => {
  accepts(ascii(4), { "1.0": "1.0", "a b~": "a b~" }, ["", "12345", "é", "a\n", "\x7f"]);
});

Deno.test("a word is one of those listed, in that case", () => {
  accepts(oneOf("writeback", "none"), { none: "none" }, ["", "None", "writeback "]);
});

Deno.test("integers lie in their range", () => {
  accepts(integer({ max: 15 }), { "0": 0, "15": 15, "0xf": 15 }, [
    "",
    "16",
    "-1",
    "1.5",
    "08",
    "1k",
    "99999999999999999999",
  ]);
  accepts(integer({ min: 1, max: 255 }), { "1": 1 }, ["0", "256"]);
});

Deno.test("times are in milliseconds, and lie in their range; 0 is none where there can be none", () => {
  accepts(milliseconds({ min: 10, max: 100 }), { "10": 10, "100": 100, "0x20": 32 }, [
    "",
    "0",
    "9",
    "101",
    "1s",
    "1.5",
    "-1",
  ]);
  const optional = milliseconds({ min: 10, max: 100, off: true });
  accepts(optional, { "0": 0, "10": 10 }, ["1", "9", "101"]);
  assertEquals(optional.expected, "0, or a number of milliseconds from 10 to 100");
});

Deno.test("a range is described in the radix in which the number is usually written", () => {
  assertEquals(integer({ max: 0xffff, radix: 16 }).expected, "a whole number from 0x0 to 0xffff");
  assertEquals(integer({ min: 1, max: 255 }).expected, "a whole number from 1 to 255");
});

Deno.test("64-bit numbers keep all of their bits", () => {
  accepts(uint64, { "0x5000c500a1b2c3d5": 0x5000_c500_a1b2_c3d5n }, ["0x10000000000000000", "-1", ""]);
});

Deno.test("descriptors are 3 or above", () => {
  accepts(descriptor, { "3": 3, "2147483647": 0x7fff_ffff }, ["0", "2", "-1", "2147483648", "stdin"]);
});

Deno.test("sizes lie in their range and on their multiple", () => {
  const type = size({ min: 2 ** 20, max: 2 ** 30, multipleOf: 2 ** 20, unit: 2 ** 20 });
  accepts(type, { "256": 2 ** 28, "1M": 2 ** 20, "1g": 2 ** 30, "2.0M": 2 ** 21 }, [
    "0",
    "1.5M",
    "1000k",
    "1025",
    "2G",
    "-1",
  ]);
  assertEquals(type.expected, "a multiple of 1M from 1M to 1G");
});

Deno.test("block sizes are powers of two", () => {
  accepts(size({ min: 512, max: 32768, powerOfTwo: true }), { "512": 512, "4k": 4096, "0x1000": 4096 }, [
    "0",
    "256",
    "513",
    "1536",
    "64k",
  ]);
});

Deno.test("PCI slots are hexadecimal, without those of the chip set, and have function 0", () => {
  accepts(pciSlot, { "1": 1, "06": 6, "06.0": 6, "1E": 0x1e }, [
    "",
    "0",
    "00.0",
    "1f",
    "20",
    "06.1",
    "6.",
    "0x6",
    "6.0.0",
  ]);
});

Deno.test("every type takes back what it formats", () => {
  const check = <T>(type: PropertyType<T>, values: fc.Arbitrary<T>) =>
    fc.assert(fc.property(values, (value) => assertEquals(type.parse(type.format(value)), value)));
  check(bool, fc.boolean());
  check(identifier, fc.constantFrom("a", "lsi0.x"));
  check(oneOf("a", "b"), fc.constantFrom("a", "b"));
  check(integer({ max: 0xffff, radix: 16 }), fc.nat(0xffff));
  check(integer({ min: 1, max: 255 }), fc.integer({ min: 1, max: 255 }));
  check(uint64, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
  check(descriptor, fc.integer({ min: 3, max: 0x7fff_ffff }));
  check(pciSlot, fc.integer({ min: 1, max: 0x1e }));
  check(size({ min: 0, max: 2 ** 40 }), fc.nat(2 ** 30));
  check(size({ min: 0, max: 2 ** 40, unit: 2 ** 20 }), fc.nat(2 ** 30));
});

Deno.test("no type throws, whatever the text", () => {
  const types: PropertyType<unknown>[] = [bool, identifier, text, ascii(4), integer({ max: 9 }), uint64, pciSlot];
  fc.assert(fc.property(fc.constantFrom(...types), fc.string({ unit: "binary" }), (type, text) => {
    type.parse(text);
    assert(type.syntax !== "" && type.expected !== "");
  }));
});
