import { assertEquals } from "@std/assert";
import { median, summarize } from "../../bench/statistics.ts";

Deno.test("the median is the middle value, or the mean of the two in the middle", () => {
  assertEquals(median([9, 1, 5]), 5);
  assertEquals(median([9, 1, 5, 7]), 6);
  assertEquals(median([3]), 3);
});

Deno.test("a summary has the median and the range", () => {
  assertEquals(summarize([2, 8, 4]), { median: 4, min: 2, max: 8 });
});
