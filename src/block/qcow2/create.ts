/**
 * New qcow2 images, with the options of `qemu-img create -o`.
 *
 * The tables are written before the header that makes an image of them, so that a creation that is cut short leaves a file that
 * nothing takes for an image.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { type CreateOptions, type CreateSettings, settleOptions } from "./create_options.ts";
import { COPIED, offsetHi, offsetLo, refcountCodec, ZERO } from "./entries.ts";
import { CHUNK, resizeFile, syncFile, writeBytes, writeTable } from "./file_io.ts";
import { Limits } from "./header.ts";
import { encodeNewHeader } from "./new_header.ts";

/** Where everything lies; counts are of clusters, which are adjacent in this order, the header being cluster 0. */
interface Layout {
  readonly l1Entries: number;
  readonly refcountTable: number;
  readonly refcountBlocks: number;
  readonly l1: number;
  readonly l2: number;
  /** Data clusters in the image file itself. */
  readonly data: number;
  /** Guest clusters that L2 entries exist for. */
  readonly mapped: number;
}

/**
 * Makes an image of `file`, whatever was in it.
 *
 * @throws {Error} naming the option when the options do not go together or the image would be too large.
 */
export function* createQcow2(file: HostFile, options: CreateOptions): Coroutine<void> {
  const settings = settleOptions(options);
  const layout = plan(settings, options.dataFile !== undefined);
  const header = encodeNewHeader(settings, options, {
    l1Entries: layout.l1Entries,
    l1TableOffset: l1Start(layout) * settings.clusterSize,
    refcountTableOffset: settings.clusterSize,
    refcountTableClusters: layout.refcountTable,
  });
  const metadataEnd = (layout.data === 0 ? total(layout) : dataStart(layout)) * settings.clusterSize;
  const end = total(layout) * settings.clusterSize;
  yield* clear(file, metadataEnd, end);
  yield* writeRefcounts(file, settings, layout);
  yield* writeMapping(file, settings, layout, options.dataFile !== undefined);
  yield* preallocate(file, settings, layout, options);
  yield* syncFile(file);
  yield* writeBytes(file, 0, header);
  yield* syncFile(file);
  options.progress?.(1);
}

function plan(settings: CreateSettings, externalData: boolean): Layout {
  const { size, clusterSize, refcountBits } = settings;
  const l2Entries = clusterSize / entrySize(settings);
  const guestClusters = Math.ceil(size / clusterSize);
  const l1Entries = Math.ceil(guestClusters / l2Entries);
  if (!Number.isSafeInteger(size) || size < 0 || l1Entries * 8 > Limits.MAX_L1_TABLE) {
    throw new Error(`the size ${size} is too large for cluster_size=${clusterSize}`);
  }
  const allocated = settings.preallocation !== "off";
  const l1 = Math.ceil(l1Entries * 8 / clusterSize);
  const l2 = allocated ? l1Entries : 0;
  const mapped = allocated ? guestClusters : 0;
  const data = externalData ? 0 : mapped;
  const refcounts = planRefcounts(1 + l1 + l2 + data, clusterSize, refcountBits);
  if (refcounts.refcountTable * clusterSize > Limits.MAX_REFCOUNT_TABLE) {
    throw new Error(`preallocation of ${size} bytes needs a larger cluster_size or smaller refcount_bits`);
  }
  return { l1Entries, l1, l2, data, mapped, ...refcounts };
}

/** How many clusters the refcounts of `others` and of themselves take. */
function planRefcounts(others: number, clusterSize: number, refcountBits: number) {
  const perBlock = clusterSize * 8 / refcountBits;
  let refcountTable = 1;
  let refcountBlocks = 1;
  for (;;) {
    // Each step adds what the last one made necessary, at most a 64th of it: the sums converge.
    const blocks = Math.ceil((others + refcountTable + refcountBlocks) / perBlock);
    const table = Math.ceil(blocks * 8 / clusterSize);
    if (blocks === refcountBlocks && table === refcountTable) return { refcountTable, refcountBlocks };
    refcountBlocks = blocks;
    refcountTable = table;
  }
}

function entrySize(settings: CreateSettings): number {
  return settings.extendedL2 ? 16 : 8;
}

function l1Start(layout: Layout): number {
  return 1 + layout.refcountTable + layout.refcountBlocks;
}

function l2Start(layout: Layout): number {
  return l1Start(layout) + layout.l1;
}

function dataStart(layout: Layout): number {
  return l2Start(layout) + layout.l2;
}

function total(layout: Layout): number {
  return dataStart(layout) + layout.data;
}

/** Leaves a file of the image's size whose tables are zero. */
function* clear(file: HostFile, metadataEnd: number, end: number): Coroutine<void> {
  if (file.kind === "file") {
    yield* resizeFile(file, 0);
    yield* resizeFile(file, end);
    return;
  }
  if (file.size < end) throw new Error(`${file.name} holds ${file.size} bytes; the image needs ${end}`);
  yield* writeBytes(file, 0, new Uint8Array(512));
  yield* waitFor((done) => file.writeZeroes(0, metadataEnd, false, done));
}

function* writeRefcounts(file: HostFile, settings: CreateSettings, layout: Layout): Coroutine<void> {
  const { clusterSize, refcountBits } = settings;
  const blocksStart = 1 + layout.refcountTable;
  yield* writeTable(file, clusterSize, layout.refcountBlocks, (view, at, index) => {
    setEntry(view, at, (blocksStart + index) * clusterSize, 0, 0);
  });
  const perBlock = clusterSize * 8 / refcountBits;
  const whole = refcountsOfOne(clusterSize, refcountBits, perBlock);
  for (let block = 0; block < layout.refcountBlocks; block++) {
    const left = total(layout) - block * perBlock;
    const bytes = left >= perBlock ? whole : refcountsOfOne(clusterSize, refcountBits, left);
    yield* writeBytes(file, (blocksStart + block) * clusterSize, bytes);
  }
}

/** A refcount block whose first `count` entries are 1. */
function refcountsOfOne(clusterSize: number, bits: number, count: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(clusterSize);
  const codec = refcountCodec(Math.log2(bits));
  for (let i = 0; i < count; i++) codec.set(block, i, 1);
  return block;
}

function setEntry(view: DataView, at: number, offset: number, highFlags: number, lowFlags: number): void {
  view.setUint32(at, (offsetHi(offset) | highFlags) >>> 0);
  view.setUint32(at + 4, (offsetLo(offset) | lowFlags) >>> 0);
}

/** Points L1 at L2 tables and these at data clusters, where they are there in advance. */
function* writeMapping(
  file: HostFile,
  settings: CreateSettings,
  layout: Layout,
  externalData: boolean,
): Coroutine<void> {
  const { clusterSize } = settings;
  yield* writeTable(file, l1Start(layout) * clusterSize, layout.l2, (view, at, index) => {
    setEntry(view, at, (l2Start(layout) + index) * clusterSize, COPIED, 0);
  });
  // What a block device held before is not for the guest to see. With extended L2 entries no subcluster is allocated yet.
  const unwritten = file.kind === "device" && !externalData && settings.version === 3 && !settings.extendedL2;
  const first = externalData ? 0 : dataStart(layout) * clusterSize;
  // The data file of an image with extended L2 entries holds the disk only where subclusters are allocated.
  const subclusters = settings.extendedL2 && settings.dataFileRaw ? 0xffffffff : 0;
  yield* writeTable(file, l2Start(layout) * clusterSize, layout.mapped, (view, at, index) => {
    setEntry(view, at, first + index * clusterSize, COPIED, unwritten ? ZERO : 0);
    if (settings.extendedL2) view.setUint32(at + 12, subclusters);
  }, entrySize(settings));
}

/** Allocates the data themselves, as far as asked for. */
function* preallocate(
  file: HostFile,
  settings: CreateSettings,
  layout: Layout,
  options: CreateOptions,
): Coroutine<void> {
  const { dataHostFile: dataFile, progress } = options;
  if (dataFile !== undefined) yield* resizeFile(dataFile, settings.size);
  const target = options.dataFile === undefined ? file : dataFile;
  if (target === undefined) return;
  const start = target === file ? dataStart(layout) * settings.clusterSize : 0;
  const length = target === file ? layout.data * settings.clusterSize : settings.size;
  const writtenOnDevice = target.kind === "device" && settings.version === 2 && length > 0;
  if (settings.preallocation === "falloc" || writtenOnDevice) yield* allocateZeroes(target, start, length, progress);
  else if (settings.preallocation === "full") yield* writeZeroes(target, start, length, progress);
}

/** Pieces in which unwritten space is allocated, so that there is progress to show. */
const ALLOCATION_STEP = 256 * CHUNK;

function* allocateZeroes(
  file: HostFile,
  start: number,
  length: number,
  progress: CreateOptions["progress"],
): Coroutine<void> {
  for (let at = 0; at < length; at += ALLOCATION_STEP) {
    progress?.(at / length);
    const piece = Math.min(ALLOCATION_STEP, length - at);
    yield* waitFor((done) => file.writeZeroes(start + at, piece, false, done));
  }
}

function* writeZeroes(
  file: HostFile,
  start: number,
  length: number,
  progress: CreateOptions["progress"],
): Coroutine<void> {
  const zeroes = new Uint8Array(Math.min(CHUNK, length));
  for (let at = 0; at < length; at += CHUNK) {
    progress?.(at / length);
    yield* writeBytes(file, start + at, zeroes.subarray(0, Math.min(CHUNK, length - at)));
  }
}
