import { assertEquals, assertThrows } from "@std/assert";
import { Journal } from "./journal.ts";
import { fillSector, GARBAGE, ORIGINAL, readSector, SECTOR, ZERO } from "./sector.ts";

Deno.test("a sector may hold the old value and every write since, until one is durable", () => {
  const journal = new Journal([ZERO, ZERO, ZERO, ZERO]);
  const first = journal.issue(1, 2, 10);
  assertEquals(journal.possibleValues(1), [ZERO, 10]);
  journal.acknowledge(first, false);
  assertEquals(journal.possibleValues(1), [ZERO, 10]);
  journal.acknowledge(journal.issue(1, 1, 11), true);
  assertEquals([0, 1, 2].map((sector) => journal.possibleValues(sector)), [[ZERO], [11], [ZERO, 10]]);
});

Deno.test("a flush makes durable what was acknowledged when it was issued, and nothing else", () => {
  const journal = new Journal([ZERO, ZERO, ZERO, ZERO]);
  journal.acknowledge(journal.issue(0, 1, 10), false);
  const unacknowledged = journal.issue(1, 1, 11);
  const flush = journal.issueFlush();
  journal.acknowledge(unacknowledged, false);
  journal.acknowledge(journal.issue(0, 1, 12), false);
  assertEquals(journal.possibleValues(0), [ZERO, 10, 12]);
  journal.acknowledgeFlush(flush);
  assertEquals([0, 1].map((sector) => journal.possibleValues(sector)), [[10, 12], [ZERO, 11]]);
  journal.acknowledgeFlush(journal.issueFlush());
  assertEquals([0, 1].map((sector) => journal.possibleValues(sector)), [[12], [11]]);
});

Deno.test("a discard may leave what was there, also when it was flushed", () => {
  const journal = new Journal([ZERO]);
  journal.acknowledge(journal.issue(0, 1, 10), true);
  journal.acknowledge(journal.issue(0, 1, ZERO, true), true);
  journal.acknowledgeFlush(journal.issueFlush());
  assertEquals(journal.possibleValues(0), [10, ZERO]);
});

Deno.test("a sector reads as what was written last, or as what a discard after that made of it", () => {
  const journal = new Journal([ORIGINAL]);
  assertEquals(journal.currentValues(0), [ORIGINAL]);
  journal.acknowledge(journal.issue(0, 1, 10), false);
  assertEquals(journal.currentValues(0), [10]);
  journal.acknowledge(journal.issue(0, 1, ZERO, true), false);
  assertEquals(journal.currentValues(0), [10, ZERO]);
});

Deno.test("what is read after a crash is what counts from then on", () => {
  const journal = new Journal([ZERO]);
  journal.acknowledge(journal.issue(0, 1, 10), false);
  journal.settle(0, ZERO);
  assertEquals(journal.possibleValues(0), [ZERO]);
  assertThrows(() => journal.settle(0, 10), RangeError);
});

Deno.test("a sector is told from every other, from another value, and from a torn one", () => {
  const bytes = new Uint8Array(SECTOR);
  assertEquals(readSector(bytes, 7), ZERO);
  fillSector(bytes, 7, 123);
  assertEquals(readSector(bytes, 7), 123);
  assertEquals(readSector(bytes, 8), GARBAGE);
  const other = new Uint8Array(SECTOR);
  fillSector(other, 7, 124);
  bytes.set(other.subarray(256), 256);
  assertEquals(readSector(bytes, 7), GARBAGE);
  bytes.fill(0, 0, 256);
  assertEquals(readSector(bytes, 7), GARBAGE);
});
