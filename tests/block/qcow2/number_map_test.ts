import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { NumberMap } from "../../../src/block/qcow2/number_map.ts";

Deno.test("values are those of a map, for any keys", () => {
  const key = fc.oneof(fc.nat(100), fc.maxSafeNat());
  fc.assert(fc.property(fc.array(fc.tuple(key, fc.double({ noNaN: true }))), (entries) => {
    const numbers = new NumberMap();
    for (const [key, value] of entries) numbers.set(key, value);
    const model = new Map(entries);
    assertEquals(numbers.size, model.size);
    for (const [key, value] of model) assertEquals(numbers.get(key), value);
    assertEquals([...numbers.sortedKeys()], [...model.keys()].sort((a, b) => a - b));
  }));
});

Deno.test("a key that was never set has no value", () => {
  const numbers = new NumberMap();
  assertEquals(numbers.get(0), undefined);
  numbers.set(0, 7);
  assertEquals([numbers.get(0), numbers.get(2 ** 32), numbers.get(1)], [7, undefined, undefined]);
});

Deno.test("an entry takes 46 bytes at most, once there are some", () => {
  const numbers = new NumberMap();
  for (let i = 0; i < 20_000; i++) {
    numbers.set(i * 2 ** 20, i);
    if (i > 64) assertEquals(numbers.bytes <= 46 * numbers.size, true, `${numbers.bytes} bytes for ${numbers.size}`);
  }
});
