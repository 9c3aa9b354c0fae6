/**
 * Opening a qcow2 image: its tables are read, and their places checked against each other.
 *
 * @module
 */
import type { BlockDevice } from "../block_device.ts";
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import type { Engine } from "./commit.ts";
import { entryOffset, hasReservedL1Bits, hasReservedRefcountTableBits, refcountBlockOffset } from "./entries.ts";
import { readBytes } from "./file_io.ts";
import { hasFeature, Incompatible, type Qcow2Header, readHeader } from "./header.ts";
import { Mapping } from "./mapping.ts";
import { MetadataSet } from "./metadata_set.ts";
import { Refcounts } from "./refcounts.ts";
import { rebuildRefcounts } from "./repair.ts";
import { readSnapshotTable, snapshotProblem } from "./snapshots.ts";
import { ImageState, SECTOR } from "./state.ts";

/** See `Qcow2Options`. */
export interface EngineOptions {
  readonly readOnly?: boolean;
  readonly discard?: boolean;
  readonly backing?: BlockDevice;
  readonly dataFile?: HostFile;
}

/** Clusters of metadata, at most; 8 bytes of memory each. */
const MOST_METADATA = 16 * 1024 * 1024;

/** Clusters in a row that hold metadata. */
interface Place {
  readonly what: string;
  readonly offset: number;
  readonly bytes: number;
}

/** @throws {Error} in one line that names the image and the field that is wrong. */
export function* openEngine(file: HostFile, options: EngineOptions): Coroutine<Engine> {
  const { readOnly = false, discard = false, backing } = options;
  let header = yield* readHeader(file);
  if (!readOnly) header = yield* makeWritable(file, header);
  const external = hasFeature(header.incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE);
  if (external && options.dataFile === undefined) {
    throw new Error(`Cannot open ${file.name}: it needs an external data file`);
  }
  const sector = yield* readBytes(file, 0, SECTOR);
  const l1 = yield* readBytes(file, header.l1TableOffset, Math.ceil(header.l1Size * 8 / SECTOR) * SECTOR);
  const tableBytes = header.refcountTableClusters * 2 ** header.clusterBits;
  const table = yield* readBytes(file, header.refcountTableOffset, tableBytes);
  const places = yield* fixedPlaces(file, header);
  const metadata = collectMetadata(file, header, places, l1, table);
  const dataFile = external ? options.dataFile : undefined;
  const state = new ImageState(file, header, sector, metadata, readOnly, discard && !readOnly, backing, dataFile);
  const refcounts = new Refcounts(state, table);
  return { state, refcounts, mapping: new Mapping(state, refcounts, l1) };
}

/** Checks that an image may be written to, and repairs it first if it was not closed as it should. */
function* makeWritable(file: HostFile, header: Qcow2Header): Coroutine<Qcow2Header> {
  if (hasFeature(header.incompatibleFeatures, Incompatible.CORRUPT)) {
    throw new Error(`Cannot open ${file.name} for writing: it is marked as corrupt; it can be read, or repaired`);
  }
  if (!hasFeature(header.incompatibleFeatures, Incompatible.DIRTY)) return header;
  yield* rebuildRefcounts(file);
  return yield* readHeader(file);
}

/** What the header and the snapshot table point at. */
function* fixedPlaces(file: HostFile, header: Qcow2Header): Coroutine<Place[]> {
  const places: Place[] = [
    { what: "the header", offset: 0, bytes: 2 ** header.clusterBits },
    { what: "the L1 table", offset: header.l1TableOffset, bytes: header.l1Size * 8 },
    {
      what: "the refcount table",
      offset: header.refcountTableOffset,
      bytes: header.refcountTableClusters * 2 ** header.clusterBits,
    },
  ];
  if (header.snapshotCount === 0) return places;
  const { snapshots, size } = yield* readSnapshotTable(file, header);
  places.push({ what: "the snapshot table", offset: header.snapshotsOffset, bytes: size });
  snapshots.forEach((snapshot, index) => {
    const problem = snapshotProblem(snapshot, header, file.size);
    if (problem !== undefined) throw new Error(`Cannot open ${file.name}: snapshot ${index}: ${problem}`);
    const { l1TableOffset, l1Size } = snapshot;
    places.push({ what: `the L1 table of snapshot ${index}`, offset: l1TableOffset, bytes: l1Size * 8 });
  });
  return places;
}

/** The numbers of all clusters with metadata, each of which is in use once. */
function collectMetadata(
  file: HostFile,
  header: Qcow2Header,
  places: readonly Place[],
  l1: Uint8Array,
  refcountTable: Uint8Array,
): MetadataSet {
  const cluster = 2 ** header.clusterBits;
  const fixed = places.reduce((sum, { bytes }) => sum + Math.ceil(bytes / cluster), 0);
  const l2Tables = tableOffsets(l1.subarray(0, header.l1Size * 8), (hi, lo, index) => {
    const offset = entryOffset(hi, lo);
    checkPlace(file, cluster, `L1 entry ${index}`, offset, hasReservedL1Bits(hi, lo));
    return offset;
  });
  const blocks = tableOffsets(refcountTable, (hi, lo, index) => {
    const offset = refcountBlockOffset(hi, lo);
    checkPlace(file, cluster, `refcount table entry ${index}`, offset, hasReservedRefcountTableBits(lo));
    return offset;
  });
  const count = fixed + l2Tables.length + blocks.length;
  if (count > MOST_METADATA) throw new Error(`Cannot open ${file.name}: it has ${count} clusters of metadata`);
  const clusters = new Float64Array(count);
  let at = 0;
  for (const { offset, bytes } of places) {
    for (let i = 0; i < Math.ceil(bytes / cluster); i++) clusters[at++] = offset / cluster + i;
  }
  for (const offset of l2Tables) clusters[at++] = offset / cluster;
  for (const offset of blocks) clusters[at++] = offset / cluster;
  clusters.sort();
  const twice = clusters.findIndex((number, index) => index > 0 && number === clusters[index - 1]);
  if (twice >= 0) {
    const where = `0x${(clusters[twice] * cluster).toString(16)}`;
    throw new Error(`Cannot open ${file.name}: two tables of its metadata lie at ${where}`);
  }
  return new MetadataSet(clusters);
}

/** The offsets in the entries of a table that are not zero. */
function tableOffsets(table: Uint8Array, offsetOf: (hi: number, lo: number, index: number) => number): Float64Array {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const offsets = new Float64Array(table.length / 8);
  let count = 0;
  for (let index = 0; index * 8 < table.length; index++) {
    const hi = view.getUint32(index * 8);
    const lo = view.getUint32(index * 8 + 4);
    if (hi !== 0 || lo !== 0) offsets[count++] = offsetOf(hi, lo, index);
  }
  return offsets.subarray(0, count);
}

function checkPlace(file: HostFile, cluster: number, what: string, offset: number, reserved: boolean): void {
  const problem = reserved
    ? "has reserved bits set"
    : offset === 0 || offset % cluster !== 0
    ? "is not a multiple of the cluster size"
    : offset + cluster > Math.ceil(file.size / cluster) * cluster
    ? "is beyond the end of the file"
    : undefined;
  if (problem !== undefined) {
    throw new Error(`Cannot open ${file.name}: ${what} (offset 0x${offset.toString(16)}) ${problem}`);
  }
}
