import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { formatByteSize, parseByteSize, parseInteger } from "../../src/options/numbers.ts";

Deno.test("integers are decimal or hexadecimal", () => {
  assertEquals(parseInteger("0"), 0n);
  assertEquals(parseInteger("42"), 42n);
  assertEquals(parseInteger("0x402"), 0x402n);
  assertEquals(parseInteger("0XfF"), 255n);
  assertEquals(parseInteger("0xffffffffffffffff"), 0xffff_ffff_ffff_ffffn);
});

Deno.test("what is no unsigned integer is refused, octal included", () => {
  for (const text of ["", " 1", "1 ", "-1", "+1", "1.0", "1e3", "0x", "ff", "010", "00", "1n", "NaN", "Infinity"]) {
    assertEquals(parseInteger(text), undefined, text);
  }
  assertEquals(parseInteger("9".repeat(100_000)), undefined);
});

Deno.test("a size without a suffix counts units", () => {
  assertEquals(parseByteSize("512"), 512);
  assertEquals(parseByteSize("512", 2 ** 20), 512 * 2 ** 20);
  assertEquals(parseByteSize("0x100"), 256);
  assertEquals(parseByteSize("0x100", 2 ** 20), 256 * 2 ** 20);
});

Deno.test("suffixes are powers of 1024, in either case", () => {
  for (const [index, suffix] of [..."bkMGTP"].entries()) {
    assertEquals(parseByteSize(`1${suffix}`), 1024 ** index);
    assertEquals(parseByteSize(`1${suffix.toLowerCase()}`), 1024 ** index);
    assertEquals(parseByteSize(`1${suffix.toUpperCase()}`), 1024 ** index);
  }
});

Deno.test("a suffix counts instead of the unit", () => {
  assertEquals(parseByteSize("4k", 2 ** 20), 4096);
  assertEquals(parseByteSize("4b", 2 ** 20), 4);
});

Deno.test("fractions are cut to whole bytes", () => {
  assertEquals(parseByteSize("1.5G"), 1.5 * 2 ** 30);
  assertEquals(parseByteSize("0.1k"), 102);
});

Deno.test("a fraction needs a suffix above b", () => {
  for (const text of ["1.5", "1.5b", "1.0"]) assertEquals(parseByteSize(text, 2 ** 20), undefined, text);
});

Deno.test("what is no size is refused", () => {
  for (
    const text of ["", "k", "-1", "1e3", "0x1.8", "0x20M", ".5k", "5.k", "1kk", "1 k", "1KiB", "NaN", "0x", "1,5k"]
  ) {
    assertEquals(parseByteSize(text), undefined, text);
  }
});

Deno.test("sizes beyond the safe integers are refused", () => {
  assertEquals(parseByteSize("9007199254740991"), Number.MAX_SAFE_INTEGER);
  for (const text of ["9007199254740992", "8P", "1E", "16E", "0xffffffffffffffff", "9".repeat(60)]) {
    assertEquals(parseByteSize(text), undefined, text);
  }
});

Deno.test("a formatted size is short", () => {
  assertEquals(formatByteSize(0), "0");
  assertEquals(formatByteSize(512), "512");
  assertEquals(formatByteSize(4096), "4k");
  assertEquals(formatByteSize(1536 * 2 ** 20), "1536M");
  assertEquals(formatByteSize(2 ** 40), "1T");
});

Deno.test("a formatted size is parsed back to itself", () => {
  fc.assert(fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 4 }), (number, power) => {
    const bytes = Math.floor(number / 1024 ** power) * 1024 ** power;
    assertEquals(parseByteSize(formatByteSize(bytes)), bytes);
  }));
});

Deno.test("any text is a safe, non-negative whole number of bytes, or refused", () => {
  fc.assert(fc.property(fc.stringMatching(/^[0-9a-fx.kMGTPE+-]{0,20}$/), (text) => {
    const bytes = parseByteSize(text);
    assertEquals(bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0), true);
  }));
});
