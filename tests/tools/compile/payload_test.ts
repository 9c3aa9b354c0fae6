import { assertEquals, assertThrows } from "@std/assert";
import { buildPayload, type PayloadOptions } from "../../../tools/compile/payload.ts";

const OPTIONS: PayloadOptions = {
  address: 0x5000,
  entry: 0x1000,
  environSlot: 0x4000,
  arguments: ["deno", "run"],
  variables: { HOME: "/nowhere" },
  dropped: ["HOME=", "DENO_"],
  program: new TextEncoder().encode("program();\n"),
};

const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

Deno.test("A payload ends with the lists of strings, each ended by an empty one, and the program", () => {
  const end = "deno\0run\0\0HOME=/nowhere\0\0HOME=\0DENO_\0\0file:///proc/self/fd/\0\0program();\n";
  assertEquals(text(buildPayload(OPTIONS)).slice(-end.length), end);
});

Deno.test("The same options give the same bytes", () => {
  assertEquals(buildPayload(OPTIONS), buildPayload(OPTIONS));
});

Deno.test("A payload does not depend on its address alone, but on the distances to what it refers to", () => {
  const moved = { ...OPTIONS, address: 0x7000, entry: 0x3000, environSlot: 0x6000 };
  assertEquals(buildPayload(moved), buildPayload(OPTIONS));
});

for (const argument of ["", "a\0b"]) {
  Deno.test(`A list of strings cannot hold ${JSON.stringify(argument)}`, () => {
    assertThrows(() => buildPayload({ ...OPTIONS, arguments: ["deno", argument] }), TypeError, "NUL-terminated");
  });
}
