import { assertEquals } from "@std/assert";
import { be, mediumCdb, pattern, rig, Sense } from "./initiator.ts";

const UNMAP_BIT = 0x08, NDOB = 0x01, ANCHOR = 0x10;

function unmap(length: number, flags = 0): number[] {
  return [0x42, flags, 0, 0, 0, 0, 0, ...be(length, 2), 0];
}

/** An UNMAP parameter list with consistent lengths. */
function unmapList(...ranges: [lba: number, blocks: number][]): Uint8Array {
  const descriptors = ranges.flatMap(([lba, blocks]) => [...be(lba, 8), ...be(blocks, 4), 0, 0, 0, 0]);
  return Uint8Array.of(...be(descriptors.length + 6, 2), ...be(descriptors.length, 2), 0, 0, 0, 0, ...descriptors);
}

Deno.test("SBC-3 5.28, UNMAP discards every range of its list", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  const list = unmapList([8, 16], [0, 0], [2047, 1]);
  good(unmap(list.length), list);
  assertEquals(drive.trace, ["discard 8192 @ 4096", "discard 512 @ 1048064"]);
});

Deno.test("SBC-3 5.28, no list and no descriptors are no errors", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  good(unmap(0));
  good(unmap(8), unmapList());
  assertEquals(drive.trace, []);
});

Deno.test("SBC-3 5.28, an incomplete last descriptor is ignored", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  const list = unmapList([0, 1], [1, 1]);
  list.set(be(16 + 9, 2), 2);
  good(unmap(list.length), list);
  assertEquals(drive.trace, ["discard 512 @ 0"]);
});

Deno.test("a list that ends before its header or its descriptors has the wrong length", () => {
  const { sense } = rig();
  const list = unmapList([0, 1], [1, 1]);
  for (const length of [1, 7, 8, 39]) assertEquals(sense(unmap(length), list), Sense.LIST_LENGTH, `${length} bytes`);
});

Deno.test("a list with one bad range unmaps nothing", () => {
  const { drive, sense } = rig();
  drive.trace.length = 0;
  for (const bad of [[2048, 1], [2047, 2], [2 ** 52, 1], [0, 0xffffffff]] as [number, number][]) {
    const list = unmapList([0, 8], bad);
    assertEquals(sense(unmap(list.length), list), Sense.LBA_OUT_OF_RANGE, `${bad}`);
  }
  assertEquals(drive.trace, []);
});

Deno.test("SBC-3 6.6.3, more descriptors or blocks than the limits of page B0h are refused", () => {
  const { good, sense } = rig();
  const most = unmapList(...new Array(255).fill([0, 1]));
  good(unmap(most.length), most);
  const many = unmapList(...new Array(256).fill([0, 1]));
  assertEquals(sense(unmap(many.length), many), Sense.INVALID_PARAMETER);
  // 255 times the whole medium of 16 MiB is more than 1 GiB.
  const large = rig({ size: 16 * 1024 * 1024 });
  const all = unmapList(...new Array(255).fill([0, 32768]));
  assertEquals(large.sense(unmap(all.length), all), Sense.INVALID_PARAMETER);
});

Deno.test("UNMAP refuses ANCHOR", () => {
  const { sense } = rig();
  assertEquals(sense(unmap(24, 1), unmapList([0, 1])), Sense.INVALID_CDB_FIELD);
});

Deno.test("UNMAP reports a host that fails, with the LBA of the range", () => {
  const { drive, run, initiator } = rig();
  drive.fail("discard", "ENODATA");
  const list = unmapList([24, 8]);
  assertEquals(run(unmap(list.length), list).status, 2);
  const { data } = initiator.start([0x03, 0, 0, 0, 252, 0]);
  assertEquals([data[0], data[2] & 0xf, data[6]], [0xf0, 3, 24]);
});

for (const deferred of [false, true]) {
  Deno.test(`SBC-3 5.43 and 5.44, WRITE SAME writes one block to all of the range${deferred ? ", slowly" : ""}`, () => {
    const { drive, run } = rig({ deferred });
    const block = pattern(512);
    const expected = new Uint8Array(drive.size);
    for (let i = 1; i < 2001; i++) expected.set(block, i * 512);
    for (const cdb of [mediumCdb[10](0x41, 1, 2000), mediumCdb[16](0x93, 1, 2000)]) {
      drive.bytes.fill(0);
      drive.trace.length = 0;
      const { status, taken } = run(cdb, block);
      assertEquals([status, taken], [0, 512]);
      assertEquals(drive.bytes, expected);
      assertEquals(drive.trace.length, Math.ceil(2000 * 512 / (256 * 1024)), "in chunks of 256 KiB");
    }
  });
}

Deno.test("WRITE SAME of zeroes lets the image do it, and give space back only when asked", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  const zeroes = new Uint8Array(512);
  good(mediumCdb[16](0x93, 4, 8), zeroes);
  good(mediumCdb[16](0x93, 4, 8, UNMAP_BIT), zeroes);
  good(mediumCdb[10](0x41, 4, 8, UNMAP_BIT), zeroes);
  assertEquals(drive.trace, ["zero 4096 @ 2048", "zero+unmap 4096 @ 2048", "zero+unmap 4096 @ 2048"]);
});

Deno.test("SBC-3 5.44, WRITE SAME (16) with NDOB takes no data and writes zeroes", () => {
  const { drive, run } = rig();
  drive.trace.length = 0;
  const { status, request } = run(mediumCdb[16](0x93, 0, 16, NDOB | UNMAP_BIT));
  assertEquals([status, request!.direction, drive.trace], [0, "none", ["zero+unmap 8192 @ 0"]]);
});

Deno.test("WRITE SAME with UNMAP of a block that is not zero writes it: unmapped blocks could not read as that", () => {
  const { drive, good } = rig();
  good(mediumCdb[16](0x93, 2, 2, UNMAP_BIT), pattern(512));
  assertEquals(drive.bytes.slice(1024, 1536), pattern(512));
  assertEquals(drive.bytes.slice(1536, 2048), pattern(512));
});

Deno.test("WRITE SAME is on the medium before its status when the write cache is off", () => {
  const { drive, good } = rig({ writeCache: false });
  drive.trace.length = 0;
  good(mediumCdb[16](0x93, 0, 8, NDOB));
  assertEquals(drive.trace, ["zero 4096 @ 0", "flush"]);
});

Deno.test("WRITE SAME refuses what page B0h and the provisioning page rule out", () => {
  const { sense } = rig();
  const most = 1024 * 1024 * 1024 / 512;
  assertEquals(sense(mediumCdb[16](0x93, 0, 0)), Sense.INVALID_CDB_FIELD, "WSNZ");
  assertEquals(sense(mediumCdb[16](0x93, 0, most + 1)), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[16](0x93, 0, most)), Sense.LBA_OUT_OF_RANGE, "not too long in itself");
  assertEquals(sense(mediumCdb[16](0x93, 0, 1, ANCHOR)), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[16](0x93, 0, 1, 0x20)), Sense.INVALID_CDB_FIELD, "WRPROTECT");
  assertEquals(sense(mediumCdb[10](0x41, 0, 1, NDOB)), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[10](0x41, 0, 1, 0x04)), Sense.INVALID_CDB_FIELD, "PBDATA");
});

Deno.test("WRITE SAME checks its range before it takes data", () => {
  const { run, requestSense } = rig();
  const { status, taken } = run(mediumCdb[16](0x93, 2040, 9));
  assertEquals([status, taken], [2, 0]);
  assertEquals(requestSense(), Sense.LBA_OUT_OF_RANGE);
});
