import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LinkError } from "../../../src/link/link_error.ts";
import {
  checkShadowLayout,
  MAX_SHADOW_RANGES,
  MAX_SHADOW_SIZE,
  type ShadowRange,
  ShadowReader,
} from "../../../src/link/ring/shadow.ts";
import { runs } from "../../support/runs.ts";
import { BAR, plainPair, SPACES } from "./support.ts";

const SIZE = 0x80;

/** The last range lies where the first does. */
const RANGES: readonly ShadowRange[] = [
  { space: BAR, offset: 0x10, length: 8, at: 0x40 },
  { space: 6, offset: 0, length: 0x40, at: 0 },
  { space: BAR, offset: 0x40, length: 4, at: 0x78 },
  { space: BAR, offset: 0x80, length: 8, at: 0x40 },
];

function shadow(): { reader: ShadowReader; memory: DataView } {
  const memory = new Uint8Array(SIZE);
  return { reader: new ShadowReader(memory, RANGES), memory: new DataView(memory.buffer) };
}

Deno.test("what a device keeps in the shadow is what the VMM reads there, zero-extended", () => {
  const { reader, memory } = shadow();
  memory.setUint32(0x44, 0xfedcba98, true);
  memory.setUint16(0x14, 0x1234, true);
  assertEquals(reader.read(reader.find(BAR, 0x14, 4), 4), 0xfedcba98);
  assertEquals(reader.read(reader.find(BAR, 0x16, 2), 2), 0xfedc);
  assertEquals(reader.read(reader.find(BAR, 0x15, 1), 1), 0xba);
  assertEquals(reader.read(reader.find(6, 0x14, 4), 4), 0x1234);
});

Deno.test("registers that answer in several places lie in one", () => {
  const { reader, memory } = shadow();
  memory.setUint32(0x40, 0x5eed, true);
  assertEquals([0x10, 0x80].map((offset) => reader.read(reader.find(BAR, offset, 4), 4)), [0x5eed, 0x5eed]);
});

Deno.test("the shadow has what lies in a range as a whole, and is aligned", () => {
  const { reader } = shadow();
  const has = (space: number, offset: number, size: 1 | 2 | 4) => reader.find(space, offset, size) >= 0;
  assertEquals(has(BAR, 0x0c, 4), false);
  assertEquals(has(BAR, 0x10, 4), true);
  assertEquals(has(BAR, 0x18, 1), false);
  assertEquals(has(BAR, 0x11, 2), false);
  assertEquals(has(BAR, 0x12, 4), false);
  assertEquals(has(6, 0x3f, 1), true);
  assertEquals(has(0, 0, 1), false);
  assertEquals(has(BAR, 0xffffffff, 1), false);
});

/** A layout as a peer may send it: each field any unsigned number of 32 bits, most of them small. */
const anyLayout = fc.record({
  size: fc.oneof(fc.constantFrom(SIZE, MAX_SHADOW_SIZE), fc.nat(0xffffffff)),
  ranges: fc.array(
    fc.record({
      space: fc.nat(8),
      offset: fc.oneof(fc.nat(0x40).map((n) => 4 * n), fc.nat(0xffffffff)),
      length: fc.oneof(fc.nat(0x40).map((n) => 4 * n), fc.nat(0xffffffff)),
      at: fc.oneof(fc.nat(0x20).map((n) => 4 * n), fc.nat(0xffffffff)),
    }),
    { maxLength: 4 },
  ),
});

Deno.test("property: a layout that is accepted leads to no place outside of the shadow", () => {
  const property = fc.property(
    anyLayout,
    fc.nat(7),
    fc.nat(0x100),
    fc.constantFrom(1, 2, 4),
    (layout, space, offset, size) => {
      try {
        checkShadowLayout(layout, SPACES);
      } catch (error) {
        assert(error instanceof LinkError && !error.message.includes("\n"));
        return;
      }
      const at = new ShadowReader(new Uint8Array(layout.size), layout.ranges).find(space, offset, size as 1 | 2 | 4);
      assert(at === -1 || at >= 0 && at % size === 0 && at + size <= layout.size);
    },
  );
  fc.assert(property, { numRuns: runs(2000, 50_000) });
});

const range = (range: Partial<ShadowRange>): ShadowRange => ({ space: BAR, offset: 0, length: 4, at: 0, ...range });

for (
  const [ranges, line] of [
    [[range({ space: 0 })], "shadow: range 0 has 4 bytes at offset 0 of space 0"],
    [[range({ space: 7 })], "shadow: range 0 has 4 bytes at offset 0 of space 7"],
    [[range({ offset: 2 })], "shadow: range 0 has 4 bytes at offset 2 of space 1"],
    [[range({ length: 0 })], "shadow: range 0 has 0 bytes at offset 0 of space 1"],
    [[range({ length: 6 })], "shadow: range 0 has 6 bytes at offset 0 of space 1"],
    [[range({ at: 2 })], "shadow: range 0 has 4 bytes at offset 0 of space 1"],
    [[range({ offset: 0xfc, length: 8 })], "shadow: range 0 has 8 bytes at offset 252 of space 1"],
    [[range({ offset: -4, length: 8 })], "shadow: range 0 has 8 bytes at offset -4 of space 1"],
    [[range({ length: 8, at: SIZE - 4 })], `shadow: range 0 ends at ${SIZE + 4} of ${SIZE} bytes`],
    [[range({ length: 8 }), range({ offset: 4, length: 8 })], "shadow: ranges 0 and 1 overlap"],
    [Array(MAX_SHADOW_RANGES + 1).fill(RANGES[0]), "shadow: 32 ranges; 31 are the most"],
  ] as const
) {
  Deno.test(`ranges are refused with one line: ${line} (${ranges[0].at})`, () => {
    const check = () => checkShadowLayout({ size: SIZE, ranges }, SPACES);
    assertEquals((assertThrows(check, LinkError) as LinkError).message, line);
  });
}

Deno.test("a shadow is accepted up to its largest size, with the most ranges or none", () => {
  const most = Array.from({ length: MAX_SHADOW_RANGES }, (_, i) => range({ offset: 4 * i }));
  checkShadowLayout({ size: MAX_SHADOW_SIZE, ranges: most }, SPACES);
  checkShadowLayout({ size: 0, ranges: [] }, SPACES);
  const check = () => checkShadowLayout({ size: MAX_SHADOW_SIZE + 1, ranges: [] }, SPACES);
  assertThrows(check, LinkError, "shadow: 65537 bytes; 65536 are the most");
});

Deno.test("a load is served from the shadow only when nothing is outstanding in any lane", () => {
  const { reader, memory } = shadow();
  const { producers: [first, second], consumer, device } = plainPair({ lanes: 2, shadow: reader });
  memory.setUint32(0x40, 1, true);
  assertEquals(first.load(BAR, 0x10, 4), 1);
  assertEquals(device.log, []);

  // Another vCPU's store is on its way: this one may know of it by the guest's memory.
  second.store(BAR, 0x10, 4, 2);
  assertEquals(first.settled, false);
  assertEquals(first.load(BAR, 0x10, 4), device.answer);
  assertEquals(device.log, ["store 1:16/4=2", "load 1:16/4"]);

  memory.setUint32(0x40, 2, true);
  second.store(BAR, 0x14, 4, 3);
  consumer.serve(10);
  assertEquals(first.load(BAR, 0x10, 4), 2);
  assertEquals(device.log.length, 3);
});

Deno.test("registers outside the shadow are asked for", () => {
  const { reader } = shadow();
  const { producers: [producer], device } = plainPair({ shadow: reader });
  assertEquals(producer.load(BAR, 0x20, 4), device.answer);
  assertEquals(producer.load(BAR, 0x11, 2), device.answer & 0xffff);
});
