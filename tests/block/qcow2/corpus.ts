/**
 * Small images of every kind there is, for tests that look at images or spoil them.
 *
 * They are made in memory, without another program: what this project's engine does not write itself (snapshots, bitmaps, compressed
 * clusters) is put behind the end of an image, and the repair gives it its refcounts.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { compress } from "../../../src/block/compression.ts";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import type { CreateOptions } from "../../../src/block/qcow2/create_options.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { COPIED, encodeCompressed, offsetHi, offsetLo } from "../../../src/block/qcow2/entries.ts";
import { HeaderField, type Qcow2Header, readHeader } from "../../../src/block/qcow2/header.ts";
import { ExtensionType } from "../../../src/block/qcow2/header_extensions.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { repairQcow2 } from "../../../src/block/qcow2/repair.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { ends, now, pattern } from "./workload.ts";

/** An image with the files that belong to it. */
export interface CorpusImage {
  readonly name: string;
  readonly file: MemoryFile;
  readonly dataFile?: MemoryFile;
  readonly backing?: MemoryFile;
}

/** Sectors of the disks. */
const SECTORS = 96;
const SIZE = SECTORS * 512;

/** Reads 64 bits. */
export function u64(file: MemoryFile, offset: number): bigint {
  return new DataView(file.bytes(offset, 8).buffer).getBigUint64(0);
}

/** Writes 32 or 64 bits over what is there. */
export function patchNumber(file: MemoryFile, offset: number, bytes: 1 | 2 | 4 | 8, value: bigint): void {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt.asUintN(64, value));
  file.patch(offset, new Uint8Array(view.buffer).subarray(8 - bytes));
}

/** Opens an image of the corpus, or a spoilt copy of one. */
export function openImage({ file, dataFile, backing }: CorpusImage, readOnly = false): BlockDevice {
  return now(openQcow2(file, {
    readOnly,
    discard: true,
    dataFile,
    backing: backing && openRaw(backing),
  }));
}

/** An image whose changes leave the original alone. */
export function copyImage({ name, file, dataFile, backing }: CorpusImage): CorpusImage {
  return { name, file: file.copy(), dataFile: dataFile?.copy(), backing };
}

/** Asserts that a check finds nothing wrong. */
export function assertClean(file: MemoryFile): void {
  const lines: string[] = [];
  const { corruptions, leaks, checkErrors } = now(checkQcow2(file, { report: (line) => lines.push(line) }));
  assertEquals({ corruptions, leaks, checkErrors, lines }, { corruptions: 0, leaks: 0, checkErrors: 0, lines: [] });
}

/** Creates an image and writes to some of it. */
export function makeImage(name: string, options: Partial<CreateOptions> = {}): CorpusImage {
  const file = new MemoryFile({ name });
  const dataFile = options.dataFile === undefined ? undefined : new MemoryFile({ name: "data" });
  const backing = options.backingFile === undefined ? undefined : new MemoryFile({ name: "backing" });
  backing?.patch(0, pattern(SIZE / 2, 3));
  now(createQcow2(file, { size: SIZE, clusterSize: 512, ...options, dataHostFile: dataFile }));
  const image = { name, file, dataFile, backing };
  write(image, 0, 5 * 512, 1);
  write(image, 20 * 512 + 100, 700, 2);
  write(image, SIZE - 1024, 1024, 3);
  return image;
}

/** Writes to the disk in an image. */
export function write(image: CorpusImage, offset: number, length: number, seed: number): void {
  const disk = openImage(image);
  ends((done) => disk.write(offset, pattern(length, seed), false, done));
  ends((done) => disk.close(done));
}

/** Writes zeroes to the disk in an image. */
function zero(image: CorpusImage, offset: number, length: number): void {
  const disk = openImage(image);
  ends((done) => disk.writeZeroes(offset, length, true, done));
  ends((done) => disk.close(done));
}

function clusterSizeOf(header: Qcow2Header): number {
  return 2 ** header.clusterBits;
}

function nextCluster(file: MemoryFile, clusterSize: number): number {
  return Math.ceil(file.size / clusterSize) * clusterSize;
}

/** Takes a snapshot of the disk. */
export function addSnapshot({ file }: CorpusImage, id: string): void {
  const header = now(readHeader(file));
  const clusterSize = clusterSizeOf(header);
  const l1 = nextCluster(file, clusterSize);
  file.patch(l1, file.bytes(header.l1TableOffset, header.l1Size * 8));
  const table = nextCluster(file, clusterSize);
  const names = new TextEncoder().encode(`${id}snapshot ${id}`);
  const extra = header.version === 3 ? 16 : 0;
  const size = Math.ceil((40 + extra + names.length) / 8) * 8;
  const old = header.snapshotCount === 0 ? new Uint8Array() : file.bytes(header.snapshotsOffset, 8 * 64);
  const entry = new DataView(new ArrayBuffer(size));
  entry.setBigUint64(0, BigInt(l1));
  entry.setUint32(8, header.l1Size);
  entry.setUint16(12, id.length);
  entry.setUint16(14, names.length - id.length);
  entry.setUint32(16, 1_700_000_000);
  entry.setUint32(20, 123_456_789);
  entry.setBigUint64(24, 3_000_000_007n);
  entry.setUint32(36, extra);
  if (extra > 0) entry.setBigUint64(48, BigInt(header.size));
  new Uint8Array(entry.buffer).set(names, 40 + extra);
  // Entries that are there already have the same length as this one.
  const before = old.subarray(0, header.snapshotCount * size);
  file.patch(table, before);
  file.patch(table + before.length, new Uint8Array(entry.buffer));
  patchNumber(file, HeaderField.NB_SNAPSHOTS, 4, BigInt(header.snapshotCount + 1));
  patchNumber(file, HeaderField.SNAPSHOTS_OFFSET, 8, BigInt(table));
  now(repairQcow2(file, "all"));
}

/** Puts compressed data in place of guest clusters, one close behind the other. */
export function addCompressed({ file }: CorpusImage, first: number, count: number): void {
  const header = now(readHeader(file));
  const clusterSize = clusterSizeOf(header);
  const zstd = header.compressionType === 1;
  let at = nextCluster(file, clusterSize) + 10;
  for (let guest = first; guest < first + count; guest++) {
    const data = compress(zstd ? "zstd" : "deflate", new Uint8Array(clusterSize).fill(guest + 1))!;
    const { hi, lo } = encodeCompressed({ offset: at, length: data.length }, header.clusterBits)!;
    file.patch(at, data);
    setL2Entry(file, header, guest, hi, lo);
    at += data.length;
  }
  // Whole sectors are read.
  file.patch(nextCluster(file, clusterSize) - 1, new Uint8Array(1));
  now(repairQcow2(file, "all"));
}

/** Where the L2 entry of a guest cluster is; its table exists. */
export function l2EntryOffset(file: MemoryFile, guest: number): number {
  const header = now(readHeader(file));
  const entrySize = (header.incompatibleFeatures & 16n) !== 0n ? 16 : 8;
  const perTable = clusterSizeOf(header) / entrySize;
  const l2 = Number(u64(file, header.l1TableOffset + Math.floor(guest / perTable) * 8) & 0x00fffffffffffe00n);
  return l2 + (guest % perTable) * entrySize;
}

function setL2Entry(file: MemoryFile, _header: Qcow2Header, guest: number, hi: number, lo: number): void {
  const at = l2EntryOffset(file, guest);
  patchNumber(file, at, 4, BigInt(hi >>> 0));
  patchNumber(file, at + 4, 4, BigInt(lo >>> 0));
}

/** Adds two bitmaps: one with a cluster of data, one that is all ones. */
export function addBitmaps({ file }: CorpusImage): void {
  const header = now(readHeader(file));
  const clusterSize = clusterSizeOf(header);
  const data = nextCluster(file, clusterSize);
  file.patch(data, new Uint8Array(clusterSize).fill(0x0f));
  const tables = [BigInt(data), 1n].map((entry) => {
    const table = nextCluster(file, clusterSize);
    file.patch(table, new Uint8Array(clusterSize));
    patchNumber(file, table, 8, entry);
    return table;
  });
  const directory = nextCluster(file, clusterSize);
  const entry = new DataView(new ArrayBuffer(32 * tables.length));
  tables.forEach((table, index) => {
    const at = index * 32;
    entry.setBigUint64(at, BigInt(table));
    entry.setUint32(at + 8, 1);
    entry.setUint32(at + 12, 2);
    entry.setUint8(at + 16, 1);
    entry.setUint8(at + 17, 9);
    entry.setUint16(at + 18, 2);
    new Uint8Array(entry.buffer).set(new TextEncoder().encode(`b${index}`), at + 24);
  });
  file.patch(directory, new Uint8Array(entry.buffer));
  file.patch(nextCluster(file, clusterSize) - 1, new Uint8Array(1));
  // In place of the end of the extensions, which follows.
  const extension = new DataView(new ArrayBuffer(40));
  extension.setUint32(0, ExtensionType.BITMAPS);
  extension.setUint32(4, 24);
  extension.setUint32(8, tables.length);
  extension.setBigUint64(16, BigInt(entry.byteLength));
  extension.setBigUint64(24, BigInt(directory));
  file.patch(header.headerLength, new Uint8Array(extension.buffer));
  patchNumber(file, HeaderField.AUTOCLEAR_FEATURES, 8, header.autoclearFeatures | 1n);
  now(repairQcow2(file, "all"));
}

/** An entry of L1 or L2 for a place. */
export function copiedEntry(offset: number): bigint {
  return BigInt(offsetHi(offset) | COPIED) << 32n & 0xffffffff00000000n | BigInt(offsetLo(offset));
}

/** One image of each kind, each of which is clean. */
export function corpus(): CorpusImage[] {
  const plain = makeImage("v3");
  zero(plain, 30 * 512, 4 * 512);
  const v2 = makeImage("v2", { version: 2 });
  const snapshots = makeImage("snapshots", { refcountBits: 8 });
  addSnapshot(snapshots, "1");
  write(snapshots, 512, 1024, 9);
  addSnapshot(snapshots, "2");
  write(snapshots, 20 * 512, 512, 11);
  const v2Snapshot = makeImage("v2 snapshot", { version: 2 });
  addSnapshot(v2Snapshot, "1");
  write(v2Snapshot, 0, 512, 9);
  const compressed = makeImage("compressed");
  addCompressed(compressed, 6, 8);
  addSnapshot(compressed, "1");
  write(compressed, 7 * 512, 512, 5);
  const zstd = makeImage("zstd", { compressionType: "zstd", clusterSize: 4096 });
  addCompressed(zstd, 4, 3);
  const bitmaps = makeImage("bitmaps", { refcountBits: 64 });
  addBitmaps(bitmaps);
  const extended = makeImage("extended L2", { extendedL2: true, clusterSize: 16384 });
  zero(extended, 512, 1024);
  return [
    plain,
    v2,
    snapshots,
    v2Snapshot,
    compressed,
    zstd,
    bitmaps,
    extended,
    makeImage("data file", { dataFile: "data" }),
    makeImage("raw data file", { dataFile: "data", dataFileRaw: true }),
    makeImage("backing file", { backingFile: "backing", backingFormat: "raw" }),
    makeImage("one-bit refcounts", { refcountBits: 1 }),
    makeImage("preallocation", { preallocation: "metadata", clusterSize: 1024 }),
  ];
}
