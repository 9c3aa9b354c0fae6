import { assert, assertEquals } from "@std/assert";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { HeaderField, Incompatible, parseHeader } from "../../../src/block/qcow2/header.ts";
import { openQcow2, type Qcow2Options } from "../../../src/block/qcow2/qcow2.ts";
import { errorChain } from "../../../src/error_chain.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { contents, ends, now, pattern } from "./workload.ts";

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;

/** Where `createQcow2` and the first write put things: header, refcount table, refcount block, L1, two of data, L2. */
const Place = { REFCOUNT_BLOCK: 2, L1: 3, DATA: 4, L2: 6 } as const;

/** An image with data in its first two clusters. */
function makeImage(version: 2 | 3 = 3): MemoryFile {
  const file = new MemoryFile();
  now(createQcow2(file, { size: SIZE, clusterSize: CLUSTER, version }));
  const disk = now(openQcow2(file));
  ends((done) => disk.write(0, pattern(2 * CLUSTER, 1), false, done));
  ends((done) => disk.close(done));
  return file;
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/** The error that a request ends with. */
function failure(start: (done: (error?: Error) => void) => void): string {
  let message = "no error";
  start((error) => {
    if (error !== undefined) message = errorChain(error);
  });
  return message;
}

function openFailure(file: MemoryFile, options: Qcow2Options = {}): string {
  try {
    now(openQcow2(file, options));
    return "no error";
  } catch (error) {
    return errorChain(error);
  }
}

function isMarked(file: MemoryFile): boolean {
  const { incompatibleFeatures } = parseHeader(file.bytes(0, CLUSTER), file);
  return (incompatibleFeatures & Incompatible.CORRUPT) !== 0n;
}

const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

/** What is wrong with the first L2 entry → the entry, and what is said of it. */
const BAD_ENTRIES: Readonly<Record<string, [entry: bigint, message: string]>> = {
  "leads to the header": [COPIED, "L2 entry for guest offset 0x0: offset 0x0 is metadata's"],
  "leads to an L2 table": [COPIED | BigInt(Place.L2 * CLUSTER), "offset 0x6000 is metadata's"],
  "leads to the refcounts": [COPIED | BigInt(Place.REFCOUNT_BLOCK * CLUSTER), "offset 0x2000 is metadata's"],
  "is not aligned": [COPIED | BigInt(Place.DATA * CLUSTER + 512), "offset 0x4200 is not aligned"],
  "has reserved bits": [COPIED | (1n << 60n) | BigInt(Place.DATA * CLUSTER), "reserved bits are set"],
  "leads to compressed data that are metadata": [COMPRESSED | BigInt(Place.L1 * CLUSTER + 8), "is metadata"],
  "leads to compressed data beyond the end": [COMPRESSED | (1n << 40n), "no valid offset"],
};

for (const [what, [entry, message]] of Object.entries(BAD_ENTRIES)) {
  Deno.test(`an L2 entry that ${what} fails the request, and the image takes no more writes`, () => {
    const file = makeImage();
    file.patch(Place.L2 * CLUSTER, u64(entry));
    const before = file.copy();
    const disk = now(openQcow2(file));
    const said = failure((done) => disk.read(0, new Uint8Array(512), done));
    assert(said.includes(message), said);
    assert(isMarked(file));
    assert(failure((done) => disk.write(8 * CLUSTER, new Uint8Array(512), false, done)).includes("no more writes"));
    // What is whole can still be read.
    ends((done) => disk.read(CLUSTER, new Uint8Array(CLUSTER), done));
    ends((done) => disk.close(done));
    // But for the mark nothing was written.
    file.patch(HeaderField.INCOMPATIBLE_FEATURES, new Uint8Array(8));
    assertEquals(file.bytes(0, file.size), before.bytes(0, before.size));
  });
}

Deno.test("a cluster that is marked as not shared, but is, is not overwritten", () => {
  const file = makeImage();
  file.patch(Place.REFCOUNT_BLOCK * CLUSTER + Place.DATA * 2, new Uint8Array([0, 2]));
  const disk = now(openQcow2(file));
  const said = failure((done) => disk.write(0, new Uint8Array(512), false, done));
  assert(said.includes("the cluster at 0x4000 is marked as not shared, but its refcount is 2"), said);
  assertEquals(file.bytes(Place.DATA * CLUSTER, CLUSTER), pattern(CLUSTER, 1));
  assert(isMarked(file));
});

Deno.test("an L2 table that is marked as not shared, but is, is not changed", () => {
  const file = makeImage();
  file.patch(Place.REFCOUNT_BLOCK * CLUSTER + Place.L2 * 2, new Uint8Array([0, 2]));
  const disk = now(openQcow2(file));
  const said = failure((done) => disk.write(8 * CLUSTER, new Uint8Array(512), false, done));
  assert(said.includes("L1 entry 0 is marked as not shared"), said);
});

Deno.test("an image that is marked as corrupt can be read only", () => {
  const file = makeImage();
  file.patch(HeaderField.INCOMPATIBLE_FEATURES, u64(Incompatible.CORRUPT));
  assert(openFailure(file).includes("marked as corrupt"));
  const disk = now(openQcow2(file, { readOnly: true }));
  assertEquals(contents(disk).subarray(0, 2 * CLUSTER), pattern(2 * CLUSTER, 1));
});

Deno.test("an image that was not closed is repaired when it is opened for writing", () => {
  const file = makeImage();
  file.patch(HeaderField.INCOMPATIBLE_FEATURES, u64(Incompatible.DIRTY));
  file.patch(Place.REFCOUNT_BLOCK * CLUSTER + Place.DATA * 2, new Uint8Array([0, 0, 0, 0]));
  const disk: BlockDevice = now(openQcow2(file));
  ends((done) => disk.write(20 * CLUSTER, pattern(CLUSTER, 9), false, done));
  ends((done) => disk.close(done));
  const held = contents(now(openQcow2(file)));
  assertEquals(held.subarray(0, 2 * CLUSTER), pattern(2 * CLUSTER, 1));
  assertEquals(held.subarray(20 * CLUSTER, 21 * CLUSTER), pattern(CLUSTER, 9));
});

Deno.test("tables that lie in one place are refused at the opening", () => {
  const file = makeImage();
  file.patch(Place.L1 * CLUSTER, u64(COPIED | BigInt(Place.REFCOUNT_BLOCK * CLUSTER)));
  assertEquals(openFailure(file), "Cannot open image: two tables of its metadata lie at 0x2000");
});

Deno.test("tables that lie beyond the end are refused at the opening", () => {
  const file = makeImage();
  file.patch(Place.L1 * CLUSTER, u64(COPIED | (1n << 40n)));
  assertEquals(openFailure(file), "Cannot open image: L1 entry 0 (offset 0x10000000000) is beyond the end of the file");
});

Deno.test("an image with an external data file is refused without it", () => {
  const file = new MemoryFile();
  now(createQcow2(file, { size: SIZE, dataFile: "data", dataHostFile: new MemoryFile() }));
  assertEquals(openFailure(file), "Cannot open image: it needs an external data file");
});

Deno.test("autoclear bits that are not kept up to date are cleared by the first write", () => {
  const file = makeImage();
  file.patch(HeaderField.AUTOCLEAR_FEATURES, u64(1n << 9n));
  const disk = now(openQcow2(file));
  ends((done) => disk.read(0, new Uint8Array(512), done));
  assertEquals(parseHeader(file.bytes(0, CLUSTER), file).autoclearFeatures, 1n << 9n);
  ends((done) => disk.write(0, new Uint8Array(512), false, done));
  assertEquals(parseHeader(file.bytes(0, CLUSTER), file).autoclearFeatures, 0n);
});
