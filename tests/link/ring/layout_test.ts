import { assert, assertEquals, assertThrows } from "@std/assert";
import { LinkError } from "../../../src/link/link_error.ts";
import { checkHeader, Header, Lane, laneAt, RING_MAGIC, ringSize, Slot } from "../../../src/link/ring/layout.ts";
import { plainRing } from "./support.ts";

const GEOMETRY = { lanes: 4, slots: 64 };

Deno.test("lanes follow each other without overlap, and end within the memory", () => {
  for (const slots of [2, 4, 8, 64, 1024]) {
    const geometry = { lanes: 3, slots };
    for (let lane = 0; lane < 3; lane++) {
      assert(laneAt(lane + 1, geometry) >= laneAt(lane, geometry) + Lane.SLOTS + slots * Slot.WORDS);
    }
    assert(4 * laneAt(3, geometry) <= ringSize(geometry));
  }
});

Deno.test("what one side writes is 128 bytes away from what the other does", () => {
  for (const slots of [2, 8, 64]) assertEquals(4 * laneAt(1, { lanes: 2, slots }) % 128, 0);
  assertEquals(4 * Lane.TAIL % 128, 0);
  assertEquals(4 * Lane.SLOTS % 128, 0);
  assertEquals([4 * Header.ORDER % 128, 4 * Header.ASLEEP % 128, 4 * Header.WORDS % 128], [0, 0, 0]);
});

Deno.test("a ring takes whole pages", () => {
  assertEquals(ringSize({ lanes: 1, slots: 2 }), 4096);
  assertEquals(ringSize(GEOMETRY) % 4096, 0);
});

Deno.test("a ring has between 1 and 256 lanes of 2 to 1024 slots, a power of two", () => {
  const wrong = [[0, 64], [257, 64], [1.5, 64], [NaN, 64], [1, 0], [1, 1], [1, 48], [1, 2048], [1, -64], [1, NaN]];
  for (const [lanes, slots] of wrong) assertThrows(() => ringSize({ lanes, slots }), RangeError);
});

Deno.test("a ring is known by its header", () => {
  const { words } = plainRing(GEOMETRY);
  checkHeader(words, GEOMETRY);
  assertEquals(words[Header.MAGIC], RING_MAGIC);
});

for (
  const [index, line] of [
    [Header.MAGIC, "ring: its magic number is 77, not 1735554675"],
    [Header.VERSION, "ring: its version is 77, not 1"],
    [Header.LANES, "ring: its number of lanes is 77, not 4"],
    [Header.SLOTS, "ring: its number of slots is 77, not 64"],
  ] as const
) {
  Deno.test(`a header is refused with one line: ${line}`, () => {
    const { words } = plainRing(GEOMETRY);
    words[index] = 77;
    assertEquals((assertThrows(() => checkHeader(words, GEOMETRY), LinkError) as LinkError).message, line);
  });
}
