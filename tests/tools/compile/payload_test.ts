import { assertEquals, assertThrows } from "@std/assert";
import { buildPayload, type PayloadOptions } from "../../../tools/compile/payload.ts";

const OPTIONS: PayloadOptions = {
  address: 0x5000,
  entry: 0x1000,
  environSlot: 0x4000,
  arguments: ["deno", "run"],
  variables: { HOME: "/nowhere" },
  dropped: ["HOME=", "DENO_"],
  modules: ["main();\n", "other();\n"].map((text) => new TextEncoder().encode(text)),
};

const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

Deno.test("A payload ends with the lists of strings, each ended by an empty one, the list of modules, and these", () => {
  const strings = "deno\0run\0\0HOME=/nowhere\0\0HOME=\0DENO_\0\0file:///proc/self/fd/\0\0";
  const [main, other] = ["main();\n", "other();\n"];
  const at = strings.length + 3 * 8;
  const list = [at, main.length, at + main.length, other.length, 0, 0].map((word) =>
    `${String.fromCharCode(word)}\0\0\0`
  );
  const end = strings + list.join("") + main + other;
  assertEquals(text(buildPayload(OPTIONS)).slice(-end.length), end);
});

for (
  const [what, count, size] of [["no module", 0, 1], ["an empty module", 1, 0], ["too many modules", 21, 1]] as const
) {
  Deno.test(`A payload cannot hold ${what}`, () => {
    const modules = Array.from({ length: count }, () => new Uint8Array(size));
    assertThrows(() => buildPayload({ ...OPTIONS, modules }), RangeError);
  });
}

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
