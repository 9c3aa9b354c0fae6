import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { rebuildRefcounts } from "../../../src/block/qcow2/repair.ts";
import type { MemoryFile } from "../../support/memory_file.ts";
import {
  addBitmaps,
  addSnapshot,
  assertClean,
  type CorpusImage,
  l2EntryOffset,
  makeImage,
  openImage,
  patchNumber,
  u64,
} from "./corpus.ts";
import { now } from "./workload.ts";

/** An image that was not closed, with a cluster that nothing refers to. */
function makeDirty(): CorpusImage {
  const image = makeImage("image.qcow2", { clusterSize: 1024 });
  addSnapshot(image, "1");
  addBitmaps(image);
  const { file } = image;
  const unused = Math.ceil(file.size / 1024);
  file.patch(unused * 1024, new Uint8Array(1024).fill(7));
  const { refcountTableOffset } = now(readHeader(file));
  patchNumber(file, Number(u64(file, refcountTableOffset)) + unused * 2, 2, 1n);
  patchNumber(file, HeaderField.INCOMPATIBLE_FEATURES, 8, 1n);
  file.changes.length = 0;
  return image;
}

/** Damage that refcounts do not tell how to put right, and what is said of it. */
const DAMAGE: Readonly<Record<string, readonly [damage: (file: MemoryFile) => void, said: string]>> = {
  "an L2 entry that leads out of the file": [
    (file) => patchNumber(file, l2EntryOffset(file, 0), 8, 1n << 40n),
    "1024 bytes at 0x10000000000 are referred to beyond the end of the file",
  ],
  "an L2 entry that leads to no cluster's beginning": [
    (file) => patchNumber(file, l2EntryOffset(file, 0), 8, u64(file, l2EntryOffset(file, 0)) ^ 0x200n),
    "is not on a cluster boundary",
  ],
  "reserved bits in an L2 entry": [
    (file) => patchNumber(file, l2EntryOffset(file, 0), 8, u64(file, l2EntryOffset(file, 0)) | 4n),
    "has reserved bits set",
  ],
  "a compressed cluster with a copied flag": [
    (file) => patchNumber(file, l2EntryOffset(file, 0), 8, u64(file, l2EntryOffset(file, 0)) | (3n << 62n)),
    "is compressed and has the copied flag",
  ],
  "an L2 entry that leads to a table": [
    (file) => patchNumber(file, l2EntryOffset(file, 0), 8, BigInt(now(readHeader(file)).l1TableOffset) | (1n << 63n)),
    "is used as an L1 table and guest data",
  ],
  "an L1 entry that leads out of the file": [
    (file) => patchNumber(file, now(readHeader(file)).l1TableOffset, 8, 1n << 40n),
    "1024 bytes at 0x10000000000 are referred to beyond the end of the file",
  ],
  "a snapshot without an L1 table": [
    (file) => patchNumber(file, now(readHeader(file)).snapshotsOffset, 8, 0x201n),
    "snapshot 0: l1_table_offset 0x201 is not a multiple",
  ],
  "a bitmap without a table": [
    (file) => patchNumber(file, now(readHeader(file)).bitmaps!.directoryOffset, 8, 0x1000001n),
    "bitmap 0: bitmap_table_offset 0x1000001",
  ],
};

for (const [name, [damage, said]] of Object.entries(DAMAGE)) {
  Deno.test(`an image that was not closed is refused, and left as it is, for ${name}`, () => {
    const image = makeDirty();
    damage(image.file);
    const { message } = assertThrows(
      () => openImage(image),
      Error,
      "Cannot open image.qcow2: it was not closed, and it has errors",
    );
    assertStringIncludes(message, said);
    assertEquals(image.file.changes, []);
  });
}

Deno.test("an image that was not closed, with wrong refcounts only, is repaired when it is opened", () => {
  const image = makeDirty();
  openImage(image);
  assertClean(image.file);
});

Deno.test("an image that was not closed, with right refcounts, only loses the bit that says so", () => {
  const { file } = makeImage("image");
  patchNumber(file, HeaderField.INCOMPATIBLE_FEATURES, 8, 1n);
  file.changes.length = 0;
  now(rebuildRefcounts(file));
  assertEquals(now(readHeader(file)).incompatibleFeatures, 0n);
  assertEquals(file.changes, [{ offset: HeaderField.INCOMPATIBLE_FEATURES, length: 8 }]);
});

Deno.test("an image whose repair takes too much is refused, and left as it is, with the way to repair it", () => {
  for (const limits of [{ memory: 1000, entries: Infinity }, { memory: Infinity, entries: 100 }]) {
    const { file } = makeDirty();
    assertThrows(() => now(rebuildRefcounts(file, limits)), Error, "run `splitvm img check -r all` first");
    assertEquals(file.changes, []);
  }
});
