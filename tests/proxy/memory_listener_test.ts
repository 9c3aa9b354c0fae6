import { assertEquals, assertThrows } from "@std/assert";
import { mergeRegions } from "../../src/proxy/memory_listener.ts";

Deno.test("ranges that follow each other in the guest and in the memfd become one region", () => {
  const merged = mergeRegions([
    { gpa: 0, size: 0x1000, offset: 0 },
    { gpa: 0x1000, size: 0x2000, offset: 0x1000 },
  ]);
  assertEquals(merged, [{ gpa: 0, size: 0x3000, offset: 0 }]);
});

Deno.test("ranges that touch in the guest only stay apart", () => {
  const ranges = [{ gpa: 0, size: 0x1000, offset: 0 }, { gpa: 0x1000, size: 0x1000, offset: 0x8000 }];
  assertEquals(mergeRegions(ranges), ranges);
});

Deno.test("RAM below and above 4 GiB are two regions", () => {
  const ranges = [{ gpa: 0, size: 0x80000000, offset: 0 }, { gpa: 2 ** 32, size: 0x80000000, offset: 0x80000000 }];
  assertEquals(mergeRegions(ranges), ranges);
});

Deno.test("no more than seven regions are left, and the smallest gaps are closed for it", () => {
  const ranges = Array.from({ length: 8 }, (_, i) => ({ gpa: i * 0x10000, size: 0x4000, offset: i * 0x10000 }));
  // The gap between the last two is smaller than the others.
  ranges[6] = { gpa: 6 * 0x10000, size: 0x8000, offset: 6 * 0x10000 };
  const merged = mergeRegions(ranges);
  assertEquals(merged.length, 7);
  assertEquals(merged[6], { gpa: 6 * 0x10000, size: 0x14000, offset: 6 * 0x10000 });
});

Deno.test("regions that cannot be merged into seven are refused", () => {
  const ranges = Array.from({ length: 8 }, (_, i) => ({ gpa: i * 0x10000, size: 0x1000, offset: (8 - i) * 0x1000 }));
  assertThrows(() => mergeRegions(ranges), RangeError);
});
