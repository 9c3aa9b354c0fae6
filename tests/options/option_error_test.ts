import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { nearest, OptionError, quote, suggestion } from "../../src/options/option_error.ts";

Deno.test("an option error names the place, then the problem", () => {
  const error = new OptionError("-device scsi-hd", "unknown property 'x'");
  assertEquals(error.message, "-device scsi-hd: unknown property 'x'");
  assertEquals(error.name, "OptionError");
});

Deno.test("quote escapes what would break the line or steer the terminal", () => {
  assertEquals(quote("a\nb\x1b[31m"), "'a\\x0ab\\x1b[31m'");
});

Deno.test("quote cuts long text", () => {
  assertEquals(quote("x".repeat(1000)), `'${"x".repeat(80)}...'`);
});

Deno.test("quote gives one printable line for any text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(quote(text)));
  }));
});

Deno.test("nearest finds a misspelt word", () => {
  assertEquals(nearest("scsiid", ["id", "lun", "scsi-id"]), "scsi-id");
  assertEquals(nearest("Serial", ["id", "serial"]), "serial");
});

Deno.test("nearest finds a word of which the beginning was typed, unless two begin so", () => {
  assertEquals(nearest("lsi", ["lsi53c895a", "scsi-hd"]), "lsi53c895a");
  assertEquals(nearest("isa", ["isa-debugcon", "isa-debug-exit"]), undefined);
});

Deno.test("nearest finds a word of which two letters changed places", () => {
  assertEquals(nearest("fiel", ["file", "format", "id"]), "file");
});

Deno.test("nearest finds nothing where nothing is alike", () => {
  assertEquals(nearest("hugepages", ["id", "lun"]), undefined);
  assertEquals(nearest("x", ["m"]), undefined);
  assertEquals(nearest("anything", []), undefined);
  assertEquals(nearest("id".repeat(1000), ["id"]), undefined);
});

Deno.test("suggestion asks for the near candidate, lists a few far ones, and is silent about many", () => {
  assertEquals(suggestion("slot", ["slots", "addr"]), "; did you mean 'slots'?");
  assertEquals(suggestion("hugepages", ["id", "lun"]), "; expected id, lun");
  assertEquals(suggestion("hugepages", [..."abcdefghijkl"]), "");
  assertEquals(suggestion("hugepages", []), "");
});
