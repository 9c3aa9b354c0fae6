import { assertEquals, assertThrows } from "@std/assert";
import { splitOption } from "../../src/options/keyval.ts";
import { OptionError } from "../../src/options/option_error.ts";
import { bool, identifier, integer, oneOf } from "../../src/options/property_types.ts";
import {
  optional,
  parseProperties,
  type Properties,
  propertyNames,
  refused,
  required,
  withDefault,
} from "../../src/options/properties.ts";

const DISK = {
  id: required(identifier, "name"),
  lun: withDefault(integer({ max: 7 }), 0, "logical unit"),
  cache: optional(oneOf("none", "unsafe"), "cache"),
  readonly: withDefault(bool, false, "read-only"),
  bootindex: refused("use -boot"),
} satisfies Properties;

const parse = (text: string) => parseProperties("-device disk", DISK, splitOption("-device disk", text).pairs);
const refuses = (text: string, message: string) =>
  assertEquals(assertThrows(() => parse(text), OptionError).message, message);

Deno.test("given properties have their value, others their default or undefined", () => {
  assertEquals(parse("id=a,cache=none"), { id: "a", lun: 0, cache: "none", readonly: false });
  assertEquals(parse("lun=3,readonly=on,id=a"), { id: "a", lun: 3, cache: undefined, readonly: true });
});

Deno.test("values are typed by their schema", () => {
  const { id, lun, cache, readonly } = parse("id=a");
  const typed: [string, number, "none" | "unsafe" | undefined, boolean] = [id, lun, cache, readonly];
  assertEquals(typed, ["a", 0, undefined, false]);
});

Deno.test("a truth value's name alone switches it on", () => {
  assertEquals(parse("id=a,readonly").readonly, true);
});

Deno.test("any other property needs a value", () => {
  refuses("id=a,lun", "-device disk,id=a: 'lun' has no value; expected lun=<n>");
});

Deno.test("an unknown property is refused with the nearest one", () => {
  refuses("id=a,lan=3", "-device disk,id=a: unknown property 'lan'; did you mean 'lun'?");
});

Deno.test("an unknown property that is like no other is refused with those there are", () => {
  refuses("id=a,wwpn=3", "-device disk,id=a: unknown property 'wwpn'; expected id, lun, cache, readonly");
});

Deno.test("names that every JavaScript object has are unknown properties", () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    assertThrows(() => parse(`id=a,${name}=1`), OptionError, `unknown property '${name}'`);
  }
});

Deno.test("a value that is not accepted is refused with what is", () => {
  refuses("id=a,lun=8", "-device disk,id=a: lun='8' is not accepted; expected a whole number from 0 to 7");
  refuses("id=a,cache=all", "-device disk,id=a: cache='all' is not accepted; expected none or unsafe");
});

Deno.test("a property given twice is refused", () => {
  refuses("id=a,lun=1,lun=1", "-device disk,id=a: 'lun' is given twice");
});

Deno.test("a missing property is asked for", () => {
  refuses("lun=1", "-device disk: 'id' is missing; expected id=<id>");
});

Deno.test("a property of QEMU's that splitvm has not is refused with the reason", () => {
  refuses("id=a,bootindex=1", "-device disk,id=a: 'bootindex' is not supported: use -boot");
});

Deno.test("an id that is not well-formed does not get into the place", () => {
  assertThrows(() => parse("id=a\nb"), OptionError, "-device disk: id='a\\x0ab' is not accepted");
});

Deno.test("refused properties are not among the names", () => {
  assertEquals(propertyNames(DISK), ["id", "lun", "cache", "readonly"]);
});
