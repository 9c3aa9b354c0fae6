import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { splitOverlaps } from "../../../src/block/qcow2/mapping_walk.ts";
import { ReferenceCounts, Use } from "../../../src/block/qcow2/reference_counts.ts";

Deno.test("references are counted by cluster, however far apart and however many", () => {
  const counts = new ReferenceCounts();
  counts.add(5, 1, Use.DATA);
  counts.add(2 ** 40, 70_000, Use.DATA);
  counts.add(2 ** 40, 5, Use.DATA);
  assertEquals([4, 5, 6, 2 ** 40].map((cluster) => counts.count(cluster)), [0, 1, 0, 70_005]);
  assertEquals(counts.highest, 2 ** 40);
});

Deno.test("counts are those of a map, for any references", () => {
  const reference = fc.record({ cluster: fc.nat(200_000), times: fc.integer({ min: 1, max: 40_000 }) });
  fc.assert(fc.property(fc.array(reference), (references) => {
    const counts = new ReferenceCounts();
    const model = new Map<number, number>();
    for (const { cluster, times } of references) {
      counts.add(cluster, times, Use.DATA);
      model.set(cluster, (model.get(cluster) ?? 0) + times);
    }
    for (const [cluster, count] of model) assertEquals(counts.count(cluster), count);
  }));
});

Deno.test("counts stay as they are when references far from each other take more and more room", () => {
  const counts = new ReferenceCounts();
  const clusters = Array.from({ length: 1000 }, (_, i) => i * 1000);
  for (const cluster of clusters) counts.add(cluster, 1 + cluster, Use.DATA);
  assertEquals(clusters.map((cluster) => counts.count(cluster)), clusters.map((cluster) => 1 + cluster));
  assertEquals(clusters.filter((cluster) => counts.uses(cluster) !== Use.DATA), []);
  assertEquals([...counts.pages()].length, 1000);
});

Deno.test("references that are taken back are not there any more", () => {
  const counts = new ReferenceCounts();
  counts.add(3, 70_000, Use.L2_TABLE);
  assertEquals(counts.take(3), 70_000);
  assertEquals([counts.count(3), counts.take(3)], [0, 0]);
});

Deno.test("guest data and L2 tables may be shared", () => {
  const counts = new ReferenceCounts();
  counts.add(1, 2, Use.DATA);
  counts.add(1, 1, Use.COMPRESSED);
  counts.add(2, 9, Use.L2_TABLE);
  assertEquals([counts.conflict(1), counts.conflict(2), counts.conflict(3)], [undefined, undefined, undefined]);
});

Deno.test("nothing may lie over a table", () => {
  const counts = new ReferenceCounts();
  counts.add(1, 1, Use.L2_TABLE);
  counts.add(1, 1, Use.DATA);
  counts.add(2, 2, Use.L1_TABLE);
  assertEquals(counts.conflict(1), "an L2 table and guest data");
  assertEquals(counts.conflict(2), "an L1 table twice");
});

Deno.test("ranges that overlap are cut into parts that tell how many ranges cover them", () => {
  const ranges = [{ offset: 0, length: 10 }, { offset: 5, length: 10 }, { offset: 5, length: 2 }, {
    offset: 20,
    length: 1,
  }];
  assertEquals(splitOverlaps(ranges), [
    { offset: 0, length: 5, times: 1 },
    { offset: 5, length: 2, times: 3 },
    { offset: 7, length: 3, times: 2 },
    { offset: 10, length: 5, times: 1 },
    { offset: 20, length: 1, times: 1 },
  ]);
});

Deno.test("the parts cover each place as often as the ranges do", () => {
  const range = fc.record({ offset: fc.nat(40), length: fc.nat(10) });
  fc.assert(fc.property(fc.array(range), (ranges) => {
    const cover = (list: readonly { offset: number; length: number; times?: number }[], at: number) =>
      list.filter(({ offset, length }) => at >= offset && at < offset + length)
        .reduce((sum, { times = 1 }) => sum + times, 0);
    const parts = splitOverlaps(ranges);
    for (let at = 0; at < 55; at++) assertEquals(cover(parts, at), cover(ranges, at));
    for (const [i, part] of parts.entries()) assertEquals(i === 0 || parts[i - 1].offset < part.offset, true);
  }));
});
