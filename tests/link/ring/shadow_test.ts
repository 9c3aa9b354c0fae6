import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LinkError } from "../../../src/link/link_error.ts";
import {
  checkShadowRanges,
  MAX_SHADOW_RANGES,
  type ShadowRange,
  ShadowReader,
  shadowSize,
  ShadowWriter,
} from "../../../src/link/ring/shadow.ts";
import { runs } from "../../support/runs.ts";
import { BAR, plainPair, SPACES } from "./support.ts";

const RANGES: readonly ShadowRange[] = [
  { space: BAR, offset: 0x10, length: 8 },
  { space: 6, offset: 0, length: 0x40 },
  { space: BAR, offset: 0x40, length: 4 },
];

function shadow(): { reader: ShadowReader; writer: ShadowWriter } {
  const memory = new Uint8Array(shadowSize(RANGES));
  return { reader: new ShadowReader(memory, RANGES), writer: new ShadowWriter(memory, RANGES) };
}

Deno.test("what a device keeps in the shadow is what the VMM reads there", () => {
  const { reader, writer } = shadow();
  writer.write(BAR, 0x14, 4, 0xfedcba98);
  writer.write(6, 0x14, 2, 0x1234);
  assertEquals(reader.read(reader.find(BAR, 0x14, 4), 4), 0xfedcba98);
  assertEquals(reader.read(reader.find(BAR, 0x16, 2), 2), 0xfedc);
  assertEquals(reader.read(reader.find(BAR, 0x15, 1), 1), 0xba);
  assertEquals(reader.read(reader.find(6, 0x14, 4), 4), 0x1234);
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

Deno.test("any write leaves in the shadow the bytes of it that are in ranges", () => {
  const access = fc.record({
    space: fc.constantFrom(BAR, 6),
    offset: fc.integer({ min: 0, max: 0x48 }),
    size: fc.constantFrom(1, 2, 4),
    value: fc.integer({ min: 0, max: 0xffffffff }),
  });
  const property = fc.property(fc.array(access), (accesses) => {
    const { reader, writer } = shadow();
    const model = new Map<string, number>();
    for (const { space, offset, size, value } of accesses) {
      writer.write(space, offset, size as 1 | 2 | 4, value);
      for (let i = 0; i < size; i++) model.set(`${space}:${offset + i}`, (value >>> (8 * i)) & 0xff);
    }
    for (const { space, offset, length } of RANGES) {
      for (let at = offset; at < offset + length; at++) {
        assertEquals(reader.read(reader.find(space, at, 1), 1), model.get(`${space}:${at}`) ?? 0);
      }
    }
  });
  fc.assert(property, { numRuns: runs(100, 1000) });
});

for (
  const [ranges, line] of [
    [[{ space: 0, offset: 0, length: 4 }], "shadow: range 0 has 4 bytes at offset 0 of space 0"],
    [[{ space: 7, offset: 0, length: 4 }], "shadow: range 0 has 4 bytes at offset 0 of space 7"],
    [[{ space: BAR, offset: 2, length: 4 }], "shadow: range 0 has 4 bytes at offset 2 of space 1"],
    [[{ space: BAR, offset: 0, length: 0 }], "shadow: range 0 has 0 bytes at offset 0 of space 1"],
    [[{ space: BAR, offset: 0xfc, length: 8 }], "shadow: range 0 has 8 bytes at offset 252 of space 1"],
    [[{ space: BAR, offset: -4, length: 8 }], "shadow: range 0 has 8 bytes at offset -4 of space 1"],
    [[{ space: BAR, offset: 0, length: 8 }, { space: BAR, offset: 4, length: 8 }], "shadow: ranges 0 and 1 overlap"],
    [Array(MAX_SHADOW_RANGES + 1).fill(RANGES[0]), "shadow: 33 ranges; 32 are the most"],
  ] as const
) {
  Deno.test(`ranges are refused with one line: ${line}`, () => {
    assertEquals((assertThrows(() => checkShadowRanges(ranges, SPACES), LinkError) as LinkError).message, line);
  });
}

Deno.test("a load is served from the shadow only when nothing is outstanding in any lane", () => {
  const { reader, writer } = shadow();
  const { producers: [first, second], consumer, device } = plainPair({ lanes: 2, shadow: reader });
  writer.write(BAR, 0x10, 4, 1);
  assertEquals(first.load(BAR, 0x10, 4), 1);
  assertEquals(device.log, []);

  // Another vCPU's store is on its way: this one may know of it by the guest's memory.
  second.store(BAR, 0x10, 4, 2);
  assertEquals(first.settled, false);
  assertEquals(first.load(BAR, 0x10, 4), device.answer);
  assertEquals(device.log, ["store 1:16/4=2", "load 1:16/4"]);

  writer.write(BAR, 0x10, 4, 2);
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
