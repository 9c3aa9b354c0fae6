import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { checkQcow2, checkReport, type CheckResult } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { readSnapshotTable } from "../../../src/block/qcow2/snapshots.ts";
import type { Completion } from "../../../src/block/coroutine.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import {
  addBitmaps,
  addCompressed,
  addSnapshot,
  assertClean,
  corpus,
  type CorpusImage,
  l2EntryOffset,
  makeImage,
  patchNumber,
  u64,
} from "./corpus.ts";
import { now } from "./workload.ts";

/** What a check counts and the first thing that it says. */
function check({ file }: CorpusImage): Pick<CheckResult, "corruptions" | "leaks" | "checkErrors"> & { first: string } {
  const lines: string[] = [];
  const { corruptions, leaks, checkErrors } = now(checkQcow2(file, { report: (line) => lines.push(line) }));
  return { corruptions, leaks, checkErrors, first: lines[0] ?? "" };
}

/** Asserts that damage is found as so many corruptions and leaks, with a message. */
function assertFound(image: CorpusImage, corruptions: number, leaks: number, message: string): void {
  const found = check(image);
  assertEquals({ corruptions: found.corruptions, leaks: found.leaks }, { corruptions, leaks });
  assertStringIncludes(found.first, message);
}

/** Where the refcount of a cluster is, for refcounts of 16 bits that fit in one block. */
function refcountOffset(file: MemoryFile, cluster: number): number {
  const { refcountTableOffset } = now(readHeader(file));
  return Number(u64(file, refcountTableOffset)) + cluster * 2;
}

/** The host cluster of a guest cluster. */
function hostCluster(file: MemoryFile, guest: number): number {
  return Number(u64(file, l2EntryOffset(file, guest)) & 0x00fffffffffffe00n) / 512;
}

Deno.test("images of every kind are clean", () => {
  for (const { file } of corpus()) assertClean(file);
});

Deno.test("clusters are counted by how they are stored", () => {
  const image = makeImage("image");
  addCompressed(image, 8, 3);
  const { totalClusters, allocatedClusters, fragmentedClusters, compressedClusters, imageEndOffset } = now(
    checkQcow2(image.file),
  );
  // 5 clusters at the start, 2 at 20, 2 at the end; those at 20 and at the end are not where the ones before them end.
  assertEquals([totalClusters, allocatedClusters, compressedClusters], [96, 5 + 3 + 2 + 2, 3]);
  assertEquals(fragmentedClusters >= compressedClusters, true);
  assertEquals(imageEndOffset, Math.ceil(image.file.size / 512) * 512);
});

Deno.test("a report has QEMU's fields, without those that are zero", () => {
  const file = new MemoryFile();
  now(createQcow2(file, { size: 2 ** 20 }));
  const report = JSON.parse(JSON.stringify(checkReport("some.qcow2", now(checkQcow2(file)))));
  assertEquals(Object.keys(report).sort(), [
    "check-errors",
    "filename",
    "format",
    "image-end-offset",
    "total-clusters",
  ]);
});

Deno.test("a refcount that is too high is a leak", () => {
  const image = makeImage("image");
  patchNumber(image.file, refcountOffset(image.file, hostCluster(image.file, 0)), 2, 2n);
  const found = check(image);
  // The copied flag of the entry, whose refcount is not one any more, is wrong then.
  assertEquals([found.leaks, found.corruptions], [1, 1]);
});

Deno.test("a cluster that nothing refers to is a leak", () => {
  const image = makeImage("image");
  const cluster = Math.ceil(image.file.size / 512);
  image.file.patch(cluster * 512, new Uint8Array(512));
  patchNumber(image.file, refcountOffset(image.file, cluster), 2, 1n);
  assertFound(image, 0, 1, `Leaked cluster ${cluster} refcount=1 reference=0`);
});

Deno.test("a refcount that is too low is a corruption", () => {
  const image = makeImage("image");
  const cluster = hostCluster(image.file, 0);
  patchNumber(image.file, refcountOffset(image.file, cluster), 2, 0n);
  const found = check(image);
  assertEquals([found.leaks, found.corruptions], [0, 2]);
});

Deno.test("a copied flag that is missing is a corruption", () => {
  const image = makeImage("image");
  const at = l2EntryOffset(image.file, 0);
  patchNumber(image.file, at, 8, u64(image.file, at) & ~(1n << 63n));
  assertFound(image, 1, 0, "has a wrong copied flag: its cluster's refcount is 1");
});

Deno.test("reserved bits of entries are corruptions", () => {
  const image = makeImage("image");
  const { l1TableOffset } = now(readHeader(image.file));
  patchNumber(image.file, l1TableOffset, 8, u64(image.file, l1TableOffset) | 1n);
  assertFound(image, 1, 0, "has reserved bits set");
  const other = makeImage("image");
  const at = l2EntryOffset(other.file, 0);
  patchNumber(other.file, at, 8, u64(other.file, at) | 2n);
  assertFound(other, 1, 0, "has reserved bits set");
});

Deno.test("version 2 has no zero flag", () => {
  const image = makeImage("image", { version: 2 });
  const at = l2EntryOffset(image.file, 40);
  patchNumber(image.file, at, 8, 1n);
  assertFound(image, 1, 0, "L2 entry 0x1 has reserved bits set");
});

Deno.test("an L2 table that is not on a cluster boundary is a corruption", () => {
  const image = makeImage("image", { clusterSize: 1024 });
  const { l1TableOffset } = now(readHeader(image.file));
  patchNumber(image.file, l1TableOffset, 8, u64(image.file, l1TableOffset) + 512n);
  assertStringIncludes(check(image).first, "not on a cluster boundary");
});

Deno.test("data that are not on a cluster boundary are a corruption", () => {
  const image = makeImage("image", { clusterSize: 1024 });
  const at = l2EntryOffset(image.file, 0);
  patchNumber(image.file, at, 8, u64(image.file, at) + 512n);
  assertStringIncludes(check(image).first, "is not on a cluster boundary");
});

Deno.test("data beyond the end of the file are a corruption", () => {
  const image = makeImage("image");
  patchNumber(image.file, l2EntryOffset(image.file, 40), 8, 1n << 40n);
  assertFound(image, 1, 0, "512 bytes at 0x10000000000 are referred to beyond the end of the file");
});

Deno.test("data over a table are found even where the refcounts agree", () => {
  for (const [field, what] of [["refcountTableOffset", "refcounts"], ["l1TableOffset", "an L1 table"]] as const) {
    const image = makeImage("image");
    const place = now(readHeader(image.file))[field];
    patchNumber(image.file, l2EntryOffset(image.file, 40), 8, BigInt(place));
    patchNumber(image.file, refcountOffset(image.file, place / 512), 2, 2n);
    const found = check(image);
    assertEquals([found.corruptions, found.leaks], [1, 0]);
    assertStringIncludes(found.first, what);
  }
});

Deno.test("a refcount table that makes no sense is a corruption", () => {
  const unaligned = makeImage("image");
  const { refcountTableOffset } = now(readHeader(unaligned.file));
  patchNumber(unaligned.file, refcountTableOffset + 8, 8, 0x1001n);
  assertFound(unaligned, 1, 0, "refcount table entry 1 has reserved bits set");
  const beyond = makeImage("image");
  patchNumber(beyond.file, refcountTableOffset + 8, 8, 1n << 62n);
  assertFound(beyond, 1, 0, "refcount block 1 at 0x4000000000000000 is beyond the end of the file");
});

Deno.test("compressed clusters have no copied flag", () => {
  const image = makeImage("image");
  addCompressed(image, 8, 1);
  const at = l2EntryOffset(image.file, 8);
  patchNumber(image.file, at, 8, u64(image.file, at) | 1n << 63n);
  assertFound(image, 1, 0, "is compressed and has the copied flag");
});

Deno.test("a subcluster cannot be allocated and read as zeroes", () => {
  const image = makeImage("image", { extendedL2: true, clusterSize: 16384 });
  const at = l2EntryOffset(image.file, 0) + 8;
  patchNumber(image.file, at, 4, 1n);
  assertFound(image, 1, 0, "has subclusters that are allocated and read as zeroes");
});

Deno.test("data of a data file are where the guest has them", () => {
  const image = makeImage("image", { dataFile: "data" });
  const at = l2EntryOffset(image.file, 1);
  patchNumber(image.file, at, 8, u64(image.file, at) + 512n);
  assertFound(image, 1, 0, "is not at the guest offset 0x200 of the data file");
});

Deno.test("a snapshot whose L1 table is nowhere is a corruption", () => {
  const image = makeImage("image");
  addSnapshot(image, "1");
  const { snapshotsOffset } = now(readHeader(image.file));
  patchNumber(image.file, snapshotsOffset, 8, 0x201n);
  assertStringIncludes(check(image).first, "snapshot 0: l1_table_offset 0x201 is not a multiple");
});

Deno.test("bitmaps are in use, and checked, while the bit that makes them valid is set", () => {
  const image = makeImage("image");
  addBitmaps(image);
  const { bitmaps } = now(readHeader(image.file));
  const valid = image.file.copy();
  patchNumber(valid, bitmaps!.directoryOffset, 8, 0x1000001n);
  assertStringIncludes(check({ name: "valid", file: valid }).first, "bitmap 0: bitmap_table_offset 0x1000001");
  patchNumber(image.file, HeaderField.AUTOCLEAR_FEATURES, 8, 0n);
  // The directory, two tables and one cluster of data.
  assertEquals([check(image).leaks, check(image).corruptions], [4, 0]);
});

Deno.test("more references than a refcount can tell are a corruption", () => {
  const image = makeImage("image", { refcountBits: 1 });
  const at = l2EntryOffset(image.file, 40);
  patchNumber(image.file, at, 8, u64(image.file, l2EntryOffset(image.file, 0)));
  assertFound(image, 1, 0, "has more references than a refcount of 1 can tell");
});

/** Counts what is read. */
class CountingFile extends MemoryFile {
  bytesRead = 0;

  override read(offset: number, into: Uint8Array, done: Completion): void {
    this.bytesRead += into.length;
    super.read(offset, into, done);
  }
}

Deno.test("an L2 table that an L1 table refers to a million times is read once", () => {
  const file = new CountingFile();
  const clusterSize = 65536;
  const entries = 1_000_000;
  now(createQcow2(file, { size: entries * 8192 * clusterSize, clusterSize }));
  const { l1TableOffset } = now(readHeader(file));
  const l2 = Math.ceil(file.size / clusterSize) * clusterSize;
  const table = new DataView(new ArrayBuffer(entries * 8));
  for (let i = 0; i < entries; i++) table.setBigUint64(i * 8, BigInt(l2));
  file.patch(l1TableOffset, new Uint8Array(table.buffer));
  file.patch(l2, new Uint8Array(clusterSize).fill(0xff));
  file.bytesRead = 0;
  const { corruptions } = now(checkQcow2(file));
  assertEquals(corruptions > entries * 8192, true);
  assertEquals(file.bytesRead < 4 * entries * 8, true);
});

Deno.test("snapshots whose L1 tables lie over each other are walked once", () => {
  const file = new CountingFile();
  now(createQcow2(file, { size: 2 ** 35, clusterSize: 65536 }));
  const table = Math.ceil(file.size / 65536) * 65536;
  const count = 65536;
  const l1 = table + count * 56;
  const entries = new DataView(new ArrayBuffer(count * 56));
  for (let i = 0; i < count; i++) {
    entries.setBigUint64(i * 56, BigInt(Math.ceil(l1 / 65536) * 65536 + (i % 7) * 65536));
    entries.setUint32(i * 56 + 8, 8192 * (1 + i % 9));
    entries.setUint32(i * 56 + 36, 16);
  }
  file.patch(table, new Uint8Array(entries.buffer));
  file.patch(table + 5_000_000, new Uint8Array(1));
  patchNumber(file, HeaderField.NB_SNAPSHOTS, 4, BigInt(count));
  patchNumber(file, HeaderField.SNAPSHOTS_OFFSET, 8, BigInt(table));
  assertEquals(now(readSnapshotTable(file, now(readHeader(file)))).snapshots.length, count);
  file.bytesRead = 0;
  assertEquals(now(checkQcow2(file)).corruptions > 0, true);
  assertEquals(file.bytesRead < 50_000_000, true);
});

Deno.test("messages without end are cut short", () => {
  const image = makeImage("image", { clusterSize: 65536 });
  const at = l2EntryOffset(image.file, 1);
  image.file.patch(at, new Uint8Array(65536 - 8).fill(0x7f));
  addSnapshot(image, "1");
  addSnapshot(image, "2");
  const lines: string[] = [];
  now(checkQcow2(image.file, { report: (line) => lines.push(line) }));
  assertEquals(lines.length, 10_001);
  assertEquals(lines.at(-1), "Further messages are left out");
});

Deno.test("progress goes from nothing to all", () => {
  const { file } = makeImage("image");
  const told: number[] = [];
  now(checkQcow2(file, { progress: (fraction) => told.push(fraction) }));
  assertEquals(told, [...told].sort((a, b) => a - b));
  assertEquals([told[0] < 0.1, told.at(-1)], [true, 1]);
});

Deno.test("a header that makes no sense ends the check", () => {
  const { file } = makeImage("bad.qcow2");
  patchNumber(file, HeaderField.CLUSTER_BITS, 4, 40n);
  assertThrows(() => now(checkQcow2(file)), Error, "Cannot open bad.qcow2: cluster_bits 40");
});
