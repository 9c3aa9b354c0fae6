import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type EditKey, type Key, KeyReader } from "../../src/hmp/keys.ts";
import { runs } from "../support/runs.ts";

function read(...pieces: (string | number[])[]): Key[] {
  const reader = new KeyReader();
  return pieces.flatMap((piece) =>
    reader.read(typeof piece === "string" ? new TextEncoder().encode(piece) : Uint8Array.from(piece))
  );
}

const characters = (text: string): Key[] => [...text].map((character) => ({ character }));

Deno.test("printable characters are keys of their own, whatever their length in UTF-8", () => {
  assertEquals(read("a é漢😀"), characters("a é漢😀"));
});

Deno.test("a character that comes byte by byte is one key", () => {
  assertEquals(read([0xf0], [0x9f], [0x98], [0x80]), characters("😀"));
});

Deno.test("a byte that is not UTF-8 is U+FFFD, and what follows counts", () => {
  assertEquals(read([0xff, 0x61]), characters("\ufffda"));
  assertEquals(read([0xc3, 0x0d]), [...characters("\ufffd"), "enter"]);
});

Deno.test("control characters edit", () => {
  const expected: [number, EditKey][] = [
    [0x01, "home"],
    [0x02, "left"],
    [0x03, "drop-line"],
    [0x04, "end-of-input"],
    [0x05, "end"],
    [0x06, "right"],
    [0x08, "backspace"],
    [0x09, "complete"],
    [0x0b, "kill-to-end"],
    [0x0c, "redraw"],
    [0x0e, "next"],
    [0x10, "previous"],
    [0x15, "kill-to-start"],
    [0x17, "kill-word"],
    [0x7f, "backspace"],
  ];
  assertEquals(read(expected.map(([code]) => code)), expected.map(([, key]) => key));
});

Deno.test("other control characters, C1 controls, line separators, marks and controls of direction are no keys", () => {
  assertEquals(read("\x00\x07\x11\x1c\u0085\u009b\u2028\u0301\u202e\ufeffx"), characters("x"));
});

Deno.test("LF, CR, and CR LF end a line each, also when CR and LF come apart", () => {
  assertEquals(read("\n\r\r\n", "\r", "\n", "\n\r"), ["enter", "enter", "enter", "enter", "enter", "enter"]);
});

Deno.test("cursor keys are known in normal and in application mode", () => {
  const expected: EditKey[] = ["previous", "next", "right", "left", "end", "home"];
  assertEquals(read("\x1b[A\x1b[B\x1b[C\x1b[D\x1b[F\x1b[H"), expected);
  assertEquals(read("\x1bOA\x1bOB\x1bOC\x1bOD\x1bOF\x1bOH"), expected);
});

Deno.test("the editing keypad's Home, Delete and End are known, rxvt's too", () => {
  assertEquals(read("\x1b[1~\x1b[3~\x1b[4~\x1b[7~\x1b[8~"), ["home", "delete", "end", "home", "end"]);
});

Deno.test("a sequence that comes byte by byte is one key", () => {
  assertEquals(read("\x1b", "[", "3", "~", "x"), ["delete", ...characters("x")]);
});

Deno.test("unknown sequences are left out as a whole", () => {
  assertEquals(read("\x1b[5~\x1b[1;5C\x1b[200~\x1bOP\x1bb\x1b[?25hx"), characters("x"));
});

Deno.test("a control character ends a sequence, and counts", () => {
  assertEquals(read("\x1b[12\rx\x1b\x1b[Ay"), ["enter", ...characters("x"), "previous", ...characters("y")]);
});

Deno.test("parameters without end are no key, nor is what they begin like", () => {
  assertEquals(read(`\x1b[3${"0".repeat(100_000)}~x`), characters("x"));
});

Deno.test("[property] keys do not depend on how bytes are cut into pieces", () => {
  const byte = fc.oneof(
    fc.constantFrom(0x1b, 0x5b, 0x4f, 0x33, 0x7e, 0x0d, 0x0a, 0x41),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40 }), fc.nat(40), (bytes, at) => {
      assertEquals(read(bytes.slice(0, at), bytes.slice(at)), read(bytes));
    }),
    { numRuns: runs(300, 3000) },
  );
});
