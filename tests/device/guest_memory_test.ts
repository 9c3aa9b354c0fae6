import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { GuestMemory } from "../../src/device/guest_memory.ts";

/** 16 bytes at 0x1000, the next 16 right behind them in a region of their own, a gap, and 16 above 4 GiB. */
function build() {
  const regions = [0x1_0000_0000, 0x1000, 0x1010].map((gpa) => ({ gpa, bytes: new Uint8Array(16) }));
  return new GuestMemory(regions);
}

const sequence = (length: number) => Uint8Array.from({ length }, (_, i) => i + 1);

Deno.test("regions are in the order of their addresses, empty ones left out", () => {
  const memory = new GuestMemory([{ gpa: 16, bytes: new Uint8Array(1) }, { gpa: 8, bytes: new Uint8Array(0) }, {
    gpa: 0,
    bytes: new Uint8Array(2),
  }]);
  assertEquals(memory.regions.map(({ gpa }) => gpa), [0, 16]);
});

Deno.test("what was written is read, across regions and above 4 GiB", () => {
  const memory = build();
  for (const address of [0x1000, 0x1008, 0x1_0000_0000]) {
    assert(memory.write(address, sequence(16)));
    const into = new Uint8Array(16);
    assert(memory.read(address, into));
    assertEquals(into, sequence(16));
  }
  assertEquals([...memory.regions[1].bytes.subarray(0, 8)], [9, 10, 11, 12, 13, 14, 15, 16]);
});

Deno.test("an access that is not in RAM as a whole touches nothing, and is counted", () => {
  const memory = build();
  const wrong = [0, 0xfff, 0x1011, 0x1020, 0xffff_fff8, 0x1_0000_0008, -1, 0.5, NaN, Infinity, 2 ** 53, 2 ** 64];
  for (const address of wrong) {
    const into = sequence(16);
    assertEquals(memory.read(address, into), false, `read at ${address}`);
    assertEquals(into, sequence(16));
    assertEquals(memory.write(address, into), false, `write at ${address}`);
  }
  assert(memory.regions.every(({ bytes }) => bytes.every((byte) => byte === 0)));
  assertEquals(memory.refused, 2 * wrong.length);
});

Deno.test("nothing to copy is no access", () => {
  const memory = build();
  assertEquals([memory.read(0, new Uint8Array(0)), memory.write(0, new Uint8Array(0)), memory.refused], [
    true,
    true,
    0,
  ]);
});

Deno.test("a view is RAM itself, where one region has all of it", () => {
  const memory = build();
  memory.view(0x1004, 4)!.fill(7);
  assertEquals([...memory.regions[0].bytes.subarray(3, 9)], [0, 7, 7, 7, 7, 0]);
  for (const [address, length] of [[0x1008, 16], [0x1020, 1], [0x1000, -1], [0x1000, NaN], [NaN, 1]]) {
    assertEquals(memory.view(address, length), undefined);
  }
  assertEquals(memory.refused, 0);
});

Deno.test("regions that overlap or cannot be addressed are refused, and the old ones stay", () => {
  const memory = build();
  const bytes = new Uint8Array(16);
  for (const gpa of [-1, 0.5, Number.MAX_SAFE_INTEGER - 8, NaN]) {
    assertThrows(() => memory.replace([{ gpa, bytes }]), RangeError);
  }
  assertThrows(() => memory.replace([{ gpa: 0, bytes }, { gpa: 15, bytes }]), RangeError, "overlaps");
  assertEquals(memory.regions.length, 3);
  memory.replace([{ gpa: 0, bytes }, { gpa: 16, bytes }]);
  assertEquals(memory.regions.length, 2);
});

Deno.test("any access does what one byte after the other would do", () => {
  const address = fc.oneof(
    fc.integer({ min: 0xff0, max: 0x1030 }),
    fc.integer({ min: 0xffff_fff0, max: 0x1_0000_0020 }),
  );
  fc.assert(fc.property(address, fc.integer({ min: 0, max: 48 }), (at, length) => {
    const [whole, bytewise] = [build(), build()];
    const data = sequence(length);
    const inside = Array.from(data, (_, i) => bytewise.contains(at + i, 1)).every(Boolean);
    assertEquals(whole.write(at, data), inside);
    if (inside) data.forEach((byte, i) => bytewise.write(at + i, Uint8Array.of(byte)));
    assertEquals(whole.regions, bytewise.regions);
  }));
});
