import { assert, assertEquals, assertThrows } from "@std/assert";
import { Journal } from "./journal.ts";
import { fillSector, SECTOR, ZERO } from "./sector.ts";
import { buildWriterKernel, lastFlushed, placeOfWrite, recordRun, type WriterRun } from "./writer_guest.ts";

const RUN: WriterRun = { firstId: 2, seed: 0xdecade, sectors: 4096 };

/** What the disk holds once the guest has made its first writes. */
function contentAfter(writes: number): Uint8Array {
  const content = new Uint8Array(RUN.sectors * SECTOR);
  for (let id = RUN.firstId; id < RUN.firstId + writes; id++) {
    const { sector, count } = placeOfWrite(id, RUN);
    for (let i = sector; i < sector + count; i++) fillSector(content.subarray(i * SECTOR, (i + 1) * SECTOR), i, id);
  }
  return content;
}

function emptyJournal(): Journal {
  return new Journal(Array.from({ length: RUN.sectors }, () => ZERO));
}

Deno.test("the writer's kernel is small, and different for each run", () => {
  const kernel = buildWriterKernel(RUN);
  assert(kernel.length < 4096);
  assert(buildWriterKernel({ ...RUN, seed: 1 }).some((byte, at) => byte !== kernel[at]));
});

Deno.test("writes lie on the disk, are short and long, and go everywhere", () => {
  const places = Array.from({ length: 2000 }, (_, i) => placeOfWrite(2 + i, RUN));
  assert(places.every(({ sector, count }) => sector >= 0 && count > 0 && sector + count <= RUN.sectors));
  assertEquals([1, 2, 100].map((count) => places.some((place) => place.count === count)), [true, true, true]);
  assertEquals(new Set(places.map(({ sector }) => Math.floor(sector / 256))).size, 16);
});

Deno.test("what was flushed last is in the last whole line that says so", () => {
  assertEquals(lastFlushed("ready\r\nflushed 17\r\nflushed 24\r\nflushed 3"), 24);
  assertEquals(lastFlushed("ready\r\n"), undefined);
});

Deno.test("sectors of writes that were flushed hold them or later ones, all others also what they held before", () => {
  const journal = emptyJournal();
  recordRun(journal, RUN, "ready\r\nflushed 3\r\n", contentAfter(4));
  const { sector } = placeOfWrite(3, RUN);
  assertEquals(journal.possibleValues(sector)[0], 3);
  assertEquals(journal.possibleValues(placeOfWrite(5, RUN).sector), [ZERO, 5]);
  assertEquals(journal.nextValue, 6);
});

Deno.test("a write that the guest cannot have come to is none of its own", () => {
  const content = contentAfter(1);
  fillSector(content.subarray(0, SECTOR), 0, 5_000_000);
  assertThrows(() => recordRun(emptyJournal(), RUN, "", content), Error, "holds the write 5000000");
});
