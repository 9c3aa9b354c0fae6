/**
 * Fields of an image that a test can spoil, and what it can put there.
 *
 * @module
 */
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import type { MemoryFile } from "../../support/memory_file.ts";
import { l2EntryOffset, u64 } from "./corpus.ts";
import { now } from "./workload.ts";

/** A field: where it is, how long it is, and what it is called. */
export interface Site {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

const OFFSET_MASK = 0x00fffffffffffe00n;

const FIELD_BYTES: Readonly<Record<keyof typeof HeaderField, 1 | 4 | 8>> = {
  MAGIC: 4,
  VERSION: 4,
  BACKING_FILE_OFFSET: 8,
  BACKING_FILE_SIZE: 4,
  CLUSTER_BITS: 4,
  SIZE: 8,
  CRYPT_METHOD: 4,
  L1_SIZE: 4,
  L1_TABLE_OFFSET: 8,
  REFCOUNT_TABLE_OFFSET: 8,
  REFCOUNT_TABLE_CLUSTERS: 4,
  NB_SNAPSHOTS: 4,
  SNAPSHOTS_OFFSET: 8,
  INCOMPATIBLE_FEATURES: 8,
  COMPATIBLE_FEATURES: 8,
  AUTOCLEAR_FEATURES: 8,
  REFCOUNT_ORDER: 4,
  HEADER_LENGTH: 4,
  COMPRESSION_TYPE: 1,
};

const SNAPSHOT_FIELDS: readonly (readonly [name: string, at: number, bytes: 2 | 4 | 8])[] = [
  ["l1_table_offset", 0, 8],
  ["l1_size", 8, 4],
  ["id_size", 12, 2],
  ["name_size", 14, 2],
  ["date", 16, 4],
  ["vm_clock", 24, 8],
  ["vm_state_size", 32, 4],
  ["extra_data_size", 36, 4],
  ["extra vm_state_size", 40, 8],
  ["extra disk_size", 48, 8],
];

const BITMAP_FIELDS: readonly (readonly [name: string, at: number, bytes: 1 | 2 | 4 | 8])[] = [
  ["table_offset", 0, 8],
  ["table_size", 8, 4],
  ["flags", 12, 4],
  ["type", 16, 1],
  ["granularity_bits", 17, 1],
  ["name_size", 18, 2],
  ["extra_data_size", 20, 4],
];

/** Every field of the header, its extensions and the tables; of long tables the first entries. */
export function sitesOf(file: MemoryFile): Site[] {
  const header = now(readHeader(file));
  return [
    ...headerSites(header.version),
    ...extensionSites(file, header.headerLength),
    ...tableSites("L1 entry", header.l1TableOffset, 2),
    ...[0, 1, 6, 7, 30].flatMap((guest) => l2Sites(file, guest)),
    ...tableSites("refcount table entry", header.refcountTableOffset, 2),
    ...tableSites("refcounts", Number(u64(file, header.refcountTableOffset)), 6),
    ...(header.snapshotCount > 0 ? snapshotSites(file, header.snapshotsOffset) : []),
    ...(header.bitmaps === undefined ? [] : bitmapSites(file, header.bitmaps.directoryOffset)),
  ];
}

function headerSites(version: 2 | 3): Site[] {
  return Object.entries(HeaderField)
    .map(([name, offset]) => ({
      name: name.toLowerCase(),
      offset,
      bytes: FIELD_BYTES[name as keyof typeof HeaderField],
    }))
    .filter(({ offset }) => version === 3 || offset < HeaderField.INCOMPATIBLE_FEATURES);
}

function extensionSites(file: MemoryFile, start: number): Site[] {
  const sites: Site[] = [];
  for (let at = start, number = 0;; number++) {
    const view = new DataView(file.bytes(at, 8).buffer);
    const length = view.getUint32(4);
    sites.push({ name: `extension ${number} type`, offset: at, bytes: 4 });
    sites.push({ name: `extension ${number} length`, offset: at + 4, bytes: 4 });
    if (view.getUint32(0) === 0) return sites;
    for (let i = 0; i + 8 <= Math.min(length, 24); i += 8) {
      sites.push({ name: `extension ${number} data ${i}`, offset: at + 8 + i, bytes: 8 });
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
}

function tableSites(name: string, offset: number, count: number): Site[] {
  return Array.from({ length: count }, (_, i) => ({ name: `${name} ${i}`, offset: offset + i * 8, bytes: 8 }));
}

function l2Sites(file: MemoryFile, guest: number): Site[] {
  const { incompatibleFeatures } = now(readHeader(file));
  const offset = l2EntryOffset(file, guest);
  const site: Site = { name: `L2 entry ${guest}`, offset, bytes: 8 };
  return (incompatibleFeatures & 16n) === 0n
    ? [site]
    : [site, { ...site, name: `${site.name} bitmap`, offset: offset + 8 }];
}

function snapshotSites(file: MemoryFile, table: number): Site[] {
  const l1 = Number(u64(file, table));
  const l2 = Number(u64(file, l1) & OFFSET_MASK);
  return [
    ...SNAPSHOT_FIELDS.map(([name, at, bytes]) => ({ name: `snapshot ${name}`, offset: table + at, bytes })),
    ...tableSites("snapshot L1 entry", l1, 1),
    ...tableSites("snapshot L2 entry", l2, 2),
  ];
}

function bitmapSites(file: MemoryFile, directory: number): Site[] {
  return [
    ...BITMAP_FIELDS.map(([name, at, bytes]) => ({ name: `bitmap ${name}`, offset: directory + at, bytes })),
    ...tableSites("bitmap table entry", Number(u64(file, directory)), 1),
  ];
}

/** What a field can be spoilt with, given what it is: the corners of its width, places in the image, and single bits. */
export function valuesFor(file: MemoryFile, { offset, bytes }: Site): bigint[] {
  const header = now(readHeader(file));
  const cluster = BigInt(2 ** header.clusterBits);
  const width = bytes * 8;
  const old = u64(file, offset) >> BigInt(64 - width);
  const end = (BigInt(file.size) + cluster - 1n) / cluster * cluster;
  const places = [
    header.l1TableOffset,
    header.refcountTableOffset,
    Number(u64(file, header.refcountTableOffset)),
    Number(u64(file, header.l1TableOffset) & OFFSET_MASK),
    header.snapshotsOffset,
  ].map(BigInt);
  const values = [0n, 1n, 2n, old - 1n, old + 1n, old * 2n, 1n << BigInt(width - 1), (1n << BigInt(width)) - 1n];
  if (bytes === 8) {
    for (const place of [...places, end - cluster, end, end + cluster, 1n << 40n, 1n << 53n, OFFSET_MASK]) {
      values.push(place, place | 1n << 63n);
    }
    values.push(old + 256n, old + 512n, old + cluster, old - cluster, old | 1n << 62n);
  }
  for (let bit = 0; bit < width; bit += bytes === 8 ? 5 : 3) values.push(old ^ 1n << BigInt(bit));
  const cut = values.map((value) => BigInt.asUintN(width, value));
  return [...new Set(cut)].filter((value) => value !== old);
}
