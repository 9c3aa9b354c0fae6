/**
 * Changes the virtual size of a qcow2 image.
 *
 * What a disk gains reads as zeroes, whatever the backing file, or the image from the time when it was larger, has there.
 *
 * @module
 */
import type { BlockDevice, Extent } from "../block_device.ts";
import { type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { adjustRefcounts } from "./compare.ts";
import { entryOffset } from "./entries.ts";
import { CHUNK, readBytes, resizeFile, syncFile, writeBytes } from "./file_io.ts";
import { GrownView } from "./grown_view.ts";
import {
  Autoclear,
  bytesPerL1Entry,
  hasFeature,
  HeaderField,
  Incompatible,
  type Qcow2Header,
  readHeader,
  setUint64,
} from "./header.ts";
import { inspect } from "./inspection.ts";
import { growL1, healthy } from "./l1_growth.ts";
import { geometryOf } from "./mapping_walk.ts";
import { openQcow2 } from "./qcow2.ts";
import { rebuildRefcounts } from "./repair.ts";

/** How an image is resized. */
export interface ResizeOptions {
  /** Whether the disk may become smaller, by which what lies beyond its new end is lost. @default {false} */
  readonly shrink?: boolean;
  /** What becomes of the new part: nothing, or it is written with zeroes and so has its space. @default {"off"} */
  readonly preallocation?: "off" | "metadata" | "falloc" | "full";
  /** The backing file, which an image that has one needs to grow. It is closed in the end. */
  readonly backing?: BlockDevice;
  /** The external data file, which an image that has one needs. It is closed in the end. */
  readonly dataFile?: HostFile;
  /** Told how much of all work is done, 0 to 1. */
  readonly progress?: (fraction: number) => void;
}

/**
 * Gives the disk in an image another size.
 *
 * The header gets the new size when a growing disk is ready for it, and before a shrinking one loses anything.
 *
 * @param size Bytes; a multiple of 512.
 * @throws {Error} in one line that tells why the image cannot have that size.
 */
export function* resizeQcow2(file: HostFile, size: number, options: ResizeOptions = {}): Coroutine<void> {
  const { backing, dataFile, progress } = options;
  try {
    const header = yield* prepare(file, size, options);
    if (size > header.size) yield* grow(file, header, size, options);
    else if (size < header.size) yield* shrink(file, header, size, dataFile);
  } finally {
    if (backing !== undefined) yield* waitFor((done) => backing.close(done));
    dataFile?.close();
  }
  progress?.(1);
}

/** Refuses what cannot be resized. */
function* prepare(file: HostFile, size: number, options: ResizeOptions): Coroutine<Qcow2Header> {
  const refuse = (problem: string): never => {
    throw new Error(`Cannot resize ${file.name}: ${problem}`);
  };
  if (!Number.isSafeInteger(size) || size < 0 || size % 512 !== 0) refuse(`the size ${size} is not a multiple of 512`);
  if (file.readOnly) refuse("it is open for reading only");
  const header = yield* readHeader(file);
  const features = header.incompatibleFeatures;
  if (hasFeature(features, Incompatible.CORRUPT)) refuse("it is marked as corrupt and has to be repaired first");
  if (size < header.size && !options.shrink) refuse(`the new size ${size} is below ${header.size}; data would be lost`);
  // Snapshots of version 2 need not tell how large their disk was.
  if (header.snapshotCount > 0 && header.version === 2) refuse("it is of version 2 and has snapshots");
  if (hasFeature(header.autoclearFeatures, Autoclear.BITMAPS)) {
    refuse("it has bitmaps, which would not fit it any more");
  }
  if (hasFeature(features, Incompatible.EXTERNAL_DATA_FILE) && options.dataFile === undefined) {
    refuse("it needs its external data file");
  }
  if (options.preallocation === "metadata") {
    refuse("preallocation of metadata only is not supported; falloc and full are");
  }
  if (size > header.size && header.backingFile !== undefined && options.backing === undefined) {
    refuse("it needs its backing file");
  }
  if (!hasFeature(features, Incompatible.DIRTY)) return header;
  yield* rebuildRefcounts(file);
  return yield* readHeader(file);
}

function* grow(file: HostFile, header: Qcow2Header, size: number, options: ResizeOptions): Coroutine<void> {
  const { backing, dataFile, preallocation = "off" } = options;
  yield* growL1(file, header, Math.ceil(size / bytesPerL1Entry(header)));
  if (dataFile !== undefined) yield* resizeFile(dataFile, size);
  const stale = Math.max(yield* mappedEnd(file, yield* readHeader(file)), backing?.size ?? 0);
  const view = new GrownView(file, size, header.size);
  const disk = yield* openQcow2(view, { discard: true, backing, dataFile });
  try {
    const wrote = preallocation === "off" ? Math.min(size, stale) : size;
    for (let at = header.size; at < wrote;) {
      options.progress?.((at - header.size) / (size - header.size));
      at += preallocation === "off"
        ? yield* zeroExtent(disk, at, wrote - at)
        : yield* writeZeroes(disk, at, wrote - at);
    }
  } finally {
    yield* waitFor((done) => disk.close(done));
  }
  yield* writeSize(file, size);
}

/** Where the part of the disk ends that L2 tables describe, or could. */
function* mappedEnd(file: HostFile, header: Qcow2Header): Coroutine<number> {
  const table = new DataView((yield* readBytes(file, header.l1TableOffset, header.l1Size * 8)).buffer);
  let last = header.l1Size - 1;
  while (last >= 0 && table.getUint32(last * 8) === 0 && table.getUint32(last * 8 + 4) === 0) last--;
  return (last + 1) * bytesPerL1Entry(header);
}

/** Zeroes the first part of a range, unless it is zero already. @returns how long it is. */
function* zeroExtent(disk: BlockDevice, offset: number, length: number): Coroutine<number> {
  let found: Extent = { length, zero: false };
  yield* waitFor((done) =>
    disk.status?.(offset, length, (error, extent) => {
      found = extent ?? found;
      done(error);
    })
  );
  if (!found.zero) yield* waitFor((done) => disk.writeZeroes(offset, found.length, true, done));
  return found.length;
}

/** Writes zeroes as data. @returns how many. */
function* writeZeroes(disk: BlockDevice, offset: number, length: number): Coroutine<number> {
  const zeroes = new Uint8Array(Math.min(CHUNK, length));
  yield* waitFor((done) => disk.write(offset, zeroes, false, done));
  return zeroes.length;
}

function* writeSize(file: HostFile, size: number): Coroutine<void> {
  const field = new DataView(new ArrayBuffer(8));
  setUint64(field, 0, size);
  yield* syncFile(file);
  yield* writeBytes(file, HeaderField.SIZE, new Uint8Array(field.buffer));
  yield* syncFile(file);
}

function* shrink(file: HostFile, header: Qcow2Header, size: number, dataFile: HostFile | undefined): Coroutine<void> {
  const { counts } = yield* healthy(file, header);
  yield* writeSize(file, size);
  const { clusterSize, l2Entries, l2EntrySize } = geometryOf(header);
  const clusters = Math.ceil(size / clusterSize);
  const tables = Math.ceil(clusters / l2Entries);
  const kept = clusters - (tables - 1) * l2Entries;
  const offset = tables > 0 ? yield* l2TableOffset(file, header, tables - 1) : 0;
  // The entries in a table that snapshots use as well stay; nothing reads them.
  if (offset !== 0 && kept < l2Entries && counts.count(offset / clusterSize) === 1) {
    yield* writeBytes(file, offset + kept * l2EntrySize, new Uint8Array((l2Entries - kept) * l2EntrySize));
  }
  yield* writeBytes(file, header.l1TableOffset + tables * 8, new Uint8Array((header.l1Size - tables) * 8));
  yield* syncFile(file);
  const after = yield* inspect(file, yield* readHeader(file));
  yield* adjustRefcounts(after, "down");
  yield* resizeFile(file, Math.min(file.size, (after.counts.highest + 1) * clusterSize));
  if (dataFile === undefined) return;
  yield* resizeFile(dataFile, size);
  yield* syncFile(dataFile);
}

function* l2TableOffset(file: HostFile, { l1TableOffset }: Qcow2Header, index: number): Coroutine<number> {
  const entry = new DataView((yield* readBytes(file, l1TableOffset + index * 8, 8)).buffer);
  return entryOffset(entry.getUint32(0), entry.getUint32(4));
}
