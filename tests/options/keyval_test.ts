import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { joinOption, splitOption } from "../../src/options/keyval.ts";
import { OptionError } from "../../src/options/option_error.ts";

const pairs = (text: string, implied?: string) =>
  splitOption("-x", text, implied).pairs.map(({ key, value }) => [key, value]);

Deno.test("an option string is a list of key=value elements", () => {
  assertEquals(pairs("id=d0,file=a.img"), [["id", "d0"], ["file", "a.img"]]);
});

Deno.test("a first element without = is the value of the implied key", () => {
  assertEquals(pairs("q35,accel=kvm", "type"), [["type", "q35"], ["accel", "kvm"]]);
});

Deno.test("the implied key can be written out, anywhere", () => {
  assertEquals(pairs("accel=kvm,type=q35", "type"), [["accel", "kvm"], ["type", "q35"]]);
});

Deno.test("without an implied key, a first element without = is a key that stands alone", () => {
  assertEquals(pairs("readonly,id=a"), [["readonly", undefined], ["id", "a"]]);
});

Deno.test("a key that stands alone has no value", () => {
  assertEquals(pairs("c,menu", "order"), [["order", "c"], ["menu", undefined]]);
});

Deno.test("two commas are a comma in the value", () => {
  assertEquals(pairs("file=a,,b,id=c"), [["file", "a,b"], ["id", "c"]]);
  assertEquals(pairs("a,,b", "guest"), [["guest", "a,b"]]);
});

Deno.test("commas pair up from the left", () => {
  assertEquals(pairs("file=a,,,id=c"), [["file", "a,"], ["id", "c"]]);
  assertEquals(pairs("file=,,,,b"), [["file", ",,b"]]);
});

Deno.test("a value may contain = and may be empty", () => {
  assertEquals(pairs("append=root=/dev/sda,x="), [["append", "root=/dev/sda"], ["x", ""]]);
});

Deno.test("a comma at the end is let pass, as in QEMU's manual", () => {
  assertEquals(pairs("id=robj1,fd=4,"), [["id", "robj1"], ["fd", "4"]]);
});

Deno.test("an empty string has no elements", () => {
  assertEquals(pairs("", "type"), []);
});

Deno.test("help and ? ask for help wherever they stand", () => {
  for (const text of ["help", "?", "q35,help", "q35,?", "help,x=1"]) {
    assertEquals(splitOption("-machine", text, "type").help, true, text);
  }
  assertEquals(splitOption("-drive", "help").help, true);
});

Deno.test("help as a value that was written out is a value", () => {
  assertEquals(splitOption("-drive", "file=help"), { pairs: [{ key: "file", value: "help" }], help: false });
});

Deno.test("an element without a key is refused", () => {
  for (const text of ["=x", "id=a,=x", "flag,,id=a"]) {
    assertThrows(() => splitOption("-drive", text), OptionError, "-drive: no name in front of a value");
  }
});

const key = fc.stringMatching(/^[a-z][a-z0-9_-]{0,9}$/).filter((key) => key !== "help");
const value = fc.oneof(fc.string(), fc.stringMatching(/^[,=a?]{0,8}$/));
const keyValue = fc.record({ key, value: fc.oneof(value, fc.constant(undefined)) });

Deno.test("splitting what was joined gives the same pairs back", () => {
  fc.assert(fc.property(fc.array(keyValue), (pairs) => {
    assertEquals(splitOption("-x", joinOption(undefined, pairs)), { pairs, help: false });
  }));
});

Deno.test("splitting what was joined gives the implied value back", () => {
  const first = value.filter((text) => !/^[^,]*=/.test(text) && !["", "help", "?"].includes(text));
  fc.assert(fc.property(first, fc.array(keyValue), (first, pairs) => {
    const expected = [{ key: "type", value: first }, ...pairs];
    assertEquals(splitOption("-x", joinOption(first, pairs), "type"), { pairs: expected, help: false });
  }));
});

Deno.test("any text is split or refused with an OptionError", () => {
  fc.assert(fc.property(fc.stringMatching(/^[,=a?help]{0,20}$/), fc.constantFrom(undefined, "a"), (text, implied) => {
    try {
      splitOption("-x", text, implied);
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
    }
  }));
});
