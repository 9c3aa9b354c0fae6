import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  compressedExtent,
  encodeCompressed,
  entryOffset,
  hasReservedL1Bits,
  hasReservedL2Bits,
  offsetHi,
  offsetLo,
  refcountCodec,
  subclusterMask,
} from "../../../src/block/qcow2/entries.ts";

Deno.test("an offset is bits 9 to 55 of an entry", () => {
  assertEquals(entryOffset(0xc0000000, 0x50001), 0x50000);
  assertEquals(entryOffset(0xffffffff, 0xffffffff), 2 ** 56 - 512);
  assertEquals(entryOffset(offsetHi(0x123456789a00), offsetLo(0x123456789a00)), 0x123456789a00);
});

Deno.test("reserved bits are told from flags", () => {
  assert(!hasReservedL1Bits(0x80ffffff, 0xfffffe00));
  assert(hasReservedL1Bits(0x40000000, 0));
  assert(hasReservedL1Bits(0, 1));
  assert(!hasReservedL2Bits(0x80ffffff, 0xfffffe01, true));
  assert(hasReservedL2Bits(0, 1, false));
  assert(hasReservedL2Bits(0, 2, true));
  assert(hasReservedL2Bits(0x20000000, 0, true));
});

Deno.test("a compressed descriptor has 62 - (cluster_bits - 8) bits of offset", () => {
  // 64 KiB clusters: x = 54, so bits 54 to 61 count sectors beyond the first.
  assertEquals(compressedExtent(0x40000000 | (3 << 22), 0x10010, 16), { offset: 0x10010, length: 4 * 512 - 16 });
  // 512-byte clusters: x = 61, one bit counts sectors.
  assertEquals(compressedExtent(0x40000000 | (1 << 29), 0x201, 9), { offset: 0x201, length: 1023 });
  assertEquals(compressedExtent(0x41000000, 0, 9), undefined);
});

Deno.test("a compressed descriptor decodes to what was encoded, up to the end of its last sector", () => {
  fc.assert(fc.property(
    fc.integer({ min: 9, max: 21 }),
    fc.integer({ min: 512, max: 2 ** 40 }),
    fc.integer({ min: 1, max: 2 ** 21 }),
    (clusterBits, offset, length) => {
      fc.pre(length < 2 ** clusterBits - 512);
      const entry = encodeCompressed({ offset, length }, clusterBits);
      if (entry === undefined) throw new Error("it does not fit");
      const extent = compressedExtent(entry.hi, entry.lo, clusterBits);
      assertEquals(extent?.offset, offset);
      assertEquals((offset + (extent?.length ?? 0)) % 512, 0);
      const slack = (extent?.length ?? 0) - length;
      assert(slack >= 0 && slack < 512);
    },
  ));
});

Deno.test("refcounts of every width keep their neighbours", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 6 }), fc.infiniteStream(fc.nat()), (order, values) => {
    const codec = refcountCodec(order);
    const block = new Uint8Array(64);
    const count = codec.entriesIn(block.length);
    assertEquals(count, 512 >> order);
    const written = Array.from({ length: count }, () => (values.next().value ?? 0) % (codec.max + 1));
    written.forEach((value, index) => codec.set(block, index, value));
    assertEquals(written.map((_, index) => codec.get(block, index)), written);
  }));
});

Deno.test("refcounts below a byte begin with its least significant bits, wider ones are big-endian", () => {
  const nibbles = new Uint8Array([0x21]);
  assertEquals([refcountCodec(2).get(nibbles, 0), refcountCodec(2).get(nibbles, 1)], [1, 2]);
  assertEquals(refcountCodec(0).get(new Uint8Array([0x80]), 7), 1);
  assertEquals(refcountCodec(4).get(new Uint8Array([0, 0, 1, 2]), 1), 0x102);
  assertEquals(refcountCodec(6).get(new Uint8Array([0, 0, 0, 1, 0, 0, 0, 2]), 0), 2 ** 32 + 2);
});

Deno.test("subclusters are counted from the least significant bit", () => {
  assertEquals(subclusterMask(0, 32), 0xffffffff);
  assertEquals(subclusterMask(0, 1), 1);
  assertEquals(subclusterMask(31, 32), 0x80000000);
  assertEquals(subclusterMask(4, 4), 0);
});
