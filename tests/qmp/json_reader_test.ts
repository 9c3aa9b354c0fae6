import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type JsonItem, JsonReader } from "../../src/qmp/json_reader.ts";

const LIMITS = { size: 64, nesting: 4 };

/** All that a reader makes of some pieces. */
function read(pieces: readonly (string | Uint8Array)[], limits = LIMITS): JsonItem[] {
  const reader = new JsonReader(limits);
  const items: JsonItem[] = [];
  for (const piece of pieces) {
    reader.push(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
    for (let item; (item = reader.next()) !== undefined;) items.push(item);
  }
  return items;
}

Deno.test("values follow each other with or without white space", () => {
  assertEquals(read(['{"a":1}[2]\r\n\t {"b":"}{"}']), [{ value: { a: 1 } }, { value: [2] }, { value: { b: "}{" } }]);
});

Deno.test("a value may come in pieces of any size", () => {
  const json = fc.dictionary(fc.string({ maxLength: 8 }), fc.oneof(fc.string({ maxLength: 8 }), fc.integer()), {
    maxKeys: 3,
  });
  fc.assert(
    fc.property(fc.array(json, { maxLength: 5 }), fc.array(fc.nat(9), { minLength: 1 }), (values, cuts) => {
      const bytes = new TextEncoder().encode(values.map((value) => JSON.stringify(value)).join(""));
      const pieces: Uint8Array[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        pieces.push(bytes.subarray(at, at += 1 + cuts[i % cuts.length]));
      }
      const items = read(pieces, { size: 4096, nesting: 4 }) as { value: unknown }[];
      assertEquals(items.map(({ value }) => JSON.stringify(value)), values.map((value) => JSON.stringify(value)));
    }),
  );
});

Deno.test("an escaped quote does not end a string", () => {
  assertEquals(read([String.raw`{"a":"\"}\\"}`]), [{ value: { a: '"}\\' } }]);
});

Deno.test("a number of 64 bits comes back as it was", () => {
  const [item] = read(['{"id":18446744073709551615}']);
  assertEquals(JSON.stringify((item as { value: unknown }).value), '{"id":18446744073709551615}');
});

Deno.test("what is no JSON text is told once, and the next value is read", () => {
  assertEquals(read(["{a}{}"]), [{ problem: "not a JSON text" }, { value: {} }]);
  assertEquals(read(["{]{}"]), [{ problem: "not a JSON text" }, { value: {} }]);
});

Deno.test("what is neither an object nor an array is skipped to the end of its line", () => {
  assertEquals(read(["help me, {}\n{}"]), [{ problem: "expected an object" }, { value: {} }]);
});

Deno.test("invalid UTF-8 is a mistake", () => {
  const bytes = new TextEncoder().encode('{"a":"?"}{}');
  bytes[6] = 0xc0;
  assertEquals(read([bytes]), [{ problem: "invalid UTF-8" }, { value: {} }]);
});

Deno.test("a byte 0xff or a control character starts afresh, wherever it comes", () => {
  for (const stray of [0xff, 0x00, 0x1b]) {
    const bytes = new TextEncoder().encode('{"a":"?{}');
    bytes[6] = stray;
    const problem = `stray byte 0x${stray.toString(16).padStart(2, "0")}`;
    assertEquals(read([bytes]), [{ problem }, { value: {} }]);
  }
});

Deno.test("a value that is too long or too deep is refused, and the next line is read", () => {
  assertEquals(read([`{"a":"${"x".repeat(64)}"}\n{}`]), [{ problem: "more than 64 bytes" }, { value: {} }]);
  const deep = "more than 4 objects and arrays inside each other";
  assertEquals(read(["[[[[]]]]"]), [{ value: [[[[]]]] }]);
  assertEquals(read(["[[[[[\n{}"]), [{ problem: deep }, { value: {} }]);
});

Deno.test("whatever comes, the reader goes on: a line of its own is understood after it", () => {
  const noise = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(
      noise,
      fc.array(fc.constantFrom("{", "}", "[", "]", '"', "\\", "\n", "\xff", "1"), { maxLength: 100 }),
      (bytes, text) => {
        const items = read([bytes, text.join(""), Uint8Array.of(0xff), '\n{"last":1}']);
        assertEquals(items.at(-1), { value: { last: 1 } });
        assert(items.length <= bytes.length + 2 * text.length + 2);
      },
    ),
    { numRuns: 2000 },
  );
});
