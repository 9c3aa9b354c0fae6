/**
 * Encodes the header of a new image, with its extensions and the name of the backing file.
 *
 * @module
 */
import {
  Autoclear,
  Compatible,
  CompressionType,
  HeaderField,
  Incompatible,
  QCOW2_MAGIC,
  setUint64,
  V2_HEADER_LENGTH,
} from "./header.ts";
import { ExtensionType, type HeaderExtension } from "./header_extensions.ts";
import type { CreateOptions, CreateSettings } from "./create_options.ts";

/** Where the tables of the new image are, in bytes, and how large. */
export interface TablePlaces {
  readonly l1Entries: number;
  readonly l1TableOffset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
}

/** Bytes of a header of version 3: up to and with compression_type, padded to a multiple of 8. */
const HEADER_LENGTH = 112;

/** Features that a program which does not know them can name: type (incompatible, compatible, autoclear), bit, QEMU's name. */
const FEATURE_NAMES: readonly (readonly [type: number, bit: number, name: string])[] = [
  [0, 0, "dirty bit"],
  [0, 1, "corrupt bit"],
  [0, 2, "external data file"],
  [0, 3, "compression type"],
  [0, 4, "extended L2 entries"],
  [1, 0, "lazy refcounts"],
  [2, 0, "bitmaps"],
  [2, 1, "raw external data"],
];

/** Bytes of an entry of the feature name table; the name begins at byte 2 and is padded with zeroes. */
const FEATURE_NAME_ENTRY = 48;

const encoder = new TextEncoder();

/**
 * Encodes a header.
 *
 * @returns the bytes for offset 0; the rest of the first cluster is zeroes.
 * @throws {Error} when they do not fit in a cluster.
 */
export function encodeNewHeader(
  settings: CreateSettings,
  options: CreateOptions,
  places: TablePlaces,
): Uint8Array<ArrayBuffer> {
  const start = settings.version === 2 ? V2_HEADER_LENGTH : HEADER_LENGTH;
  const strings = [
    ...stringExtension(ExtensionType.BACKING_FORMAT, options.backingFormat),
    ...stringExtension(ExtensionType.DATA_FILE, options.dataFile),
  ];
  const name = encoder.encode(options.backingFile ?? "");
  // The features' names are for people only: they are left out where they do not fit.
  const candidates = settings.version === 2 ? [strings] : [[...strings, featureNameTable()], strings];
  const extensions = candidates.map(encodeExtensions)
    .find((bytes) => start + bytes.length + name.length <= settings.clusterSize);
  if (extensions === undefined) {
    throw new Error(`backing_file and data_file do not fit in a cluster of ${settings.clusterSize} bytes`);
  }
  const nameOffset = start + extensions.length;
  const bytes = new Uint8Array(nameOffset + name.length);
  const view = new DataView(bytes.buffer);
  encodeFields(view, settings, options, places);
  bytes.set(extensions, start);
  bytes.set(name, nameOffset);
  if (name.length > 0) {
    setUint64(view, HeaderField.BACKING_FILE_OFFSET, nameOffset);
    view.setUint32(HeaderField.BACKING_FILE_SIZE, name.length);
  }
  return bytes;
}

function encodeFields(view: DataView, settings: CreateSettings, options: CreateOptions, places: TablePlaces): void {
  view.setUint32(HeaderField.MAGIC, QCOW2_MAGIC);
  view.setUint32(HeaderField.VERSION, settings.version);
  view.setUint32(HeaderField.CLUSTER_BITS, Math.log2(settings.clusterSize));
  setUint64(view, HeaderField.SIZE, settings.size);
  view.setUint32(HeaderField.L1_SIZE, places.l1Entries);
  setUint64(view, HeaderField.L1_TABLE_OFFSET, places.l1TableOffset);
  setUint64(view, HeaderField.REFCOUNT_TABLE_OFFSET, places.refcountTableOffset);
  view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, places.refcountTableClusters);
  if (settings.version === 2) return;
  const zstd = settings.compressionType === "zstd";
  const features = {
    [HeaderField.INCOMPATIBLE_FEATURES]: [
      options.dataFile !== undefined && Incompatible.EXTERNAL_DATA_FILE,
      zstd && Incompatible.COMPRESSION_TYPE,
      settings.extendedL2 && Incompatible.EXTENDED_L2,
    ],
    [HeaderField.COMPATIBLE_FEATURES]: [settings.lazyRefcounts && Compatible.LAZY_REFCOUNTS],
    [HeaderField.AUTOCLEAR_FEATURES]: [settings.dataFileRaw && Autoclear.RAW_EXTERNAL_DATA],
  };
  for (const [field, bits] of Object.entries(features)) {
    view.setBigUint64(Number(field), bits.reduce<bigint>((all, bit) => all | (bit || 0n), 0n));
  }
  view.setUint32(HeaderField.REFCOUNT_ORDER, Math.log2(settings.refcountBits));
  view.setUint32(HeaderField.HEADER_LENGTH, HEADER_LENGTH);
  view.setUint8(HeaderField.COMPRESSION_TYPE, zstd ? CompressionType.ZSTD : CompressionType.ZLIB);
}

function stringExtension(type: number, text: string | undefined): HeaderExtension[] {
  return text === undefined ? [] : [{ type, data: encoder.encode(text) }];
}

function featureNameTable(): HeaderExtension {
  const data = new Uint8Array(FEATURE_NAMES.length * FEATURE_NAME_ENTRY);
  FEATURE_NAMES.forEach(([type, bit, name], index) => {
    data.set([type, bit, ...encoder.encode(name)], index * FEATURE_NAME_ENTRY);
  });
  return { type: ExtensionType.FEATURE_NAMES, data };
}

/** Type, length, data and padding to a multiple of 8 of each, and the end marker. */
function encodeExtensions(extensions: readonly HeaderExtension[]): Uint8Array {
  const padded = (length: number) => Math.ceil(length / 8) * 8;
  const bytes = new Uint8Array(extensions.reduce((sum, { data }) => sum + 8 + padded(data.length), 8));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { type, data } of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + padded(data.length);
  }
  return bytes;
}
