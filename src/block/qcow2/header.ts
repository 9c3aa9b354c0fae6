/**
 * The header of a qcow2 image: the first cluster, with the header extensions and the backing file's name in it.
 *
 * Everything that the header says is checked here, so that the rest of the code may allocate and compute by it. All numbers
 * are big-endian. Source: "Header" and "Header extensions" in docs/interop/qcow2.txt of QEMU, called the specification below.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { decodeString, type ParsedExtensions, parseExtensions } from "./header_extensions.ts";

/** "QFI\xfb". */
export const QCOW2_MAGIC = 0x514649fb;

/** Where the fields are, in bytes from the start of the image. */
export const HeaderField = {
  MAGIC: 0,
  VERSION: 4,
  BACKING_FILE_OFFSET: 8,
  BACKING_FILE_SIZE: 16,
  CLUSTER_BITS: 20,
  SIZE: 24,
  CRYPT_METHOD: 32,
  L1_SIZE: 36,
  L1_TABLE_OFFSET: 40,
  REFCOUNT_TABLE_OFFSET: 48,
  REFCOUNT_TABLE_CLUSTERS: 56,
  NB_SNAPSHOTS: 60,
  SNAPSHOTS_OFFSET: 64,
  INCOMPATIBLE_FEATURES: 72,
  COMPATIBLE_FEATURES: 80,
  AUTOCLEAR_FEATURES: 88,
  REFCOUNT_ORDER: 96,
  HEADER_LENGTH: 100,
  COMPRESSION_TYPE: 104,
} as const;

/** Bytes of the header of version 2, and the fewest of version 3. */
export const V2_HEADER_LENGTH = 72;
export const V3_HEADER_LENGTH = 104;

/** Bits of `incompatible_features`. */
export const Incompatible = {
  DIRTY: 1n << 0n,
  CORRUPT: 1n << 1n,
  EXTERNAL_DATA_FILE: 1n << 2n,
  COMPRESSION_TYPE: 1n << 3n,
  EXTENDED_L2: 1n << 4n,
} as const;

/** Bits of `compatible_features`. */
export const Compatible = { LAZY_REFCOUNTS: 1n << 0n } as const;

/** Bits of `autoclear_features`. */
export const Autoclear = { BITMAPS: 1n << 0n, RAW_EXTERNAL_DATA: 1n << 1n } as const;

const KNOWN_INCOMPATIBLE = Object.values(Incompatible).reduce((all, bit) => all | bit);

/** Values of `compression_type`. */
export const CompressionType = { ZLIB: 0, ZSTD: 1 } as const;

/** Limits of the format, and those that QEMU sets beyond it (block/qcow2.h). Sizes in bytes. */
export const Limits = {
  MIN_CLUSTER_BITS: 9,
  MAX_CLUSTER_BITS: 21,
  /** Extended L2 entries: a subcluster is 1/32 of a cluster and has 512 bytes at least. */
  MIN_EXTENDED_CLUSTER_BITS: 14,
  MAX_REFCOUNT_ORDER: 6,
  MAX_L1_TABLE: 32 * 1024 * 1024,
  MAX_REFCOUNT_TABLE: 8 * 1024 * 1024,
  MAX_SNAPSHOTS: 65536,
  MAX_BACKING_NAME: 1023,
} as const;

/** A header. Offsets and sizes are bytes; each range lies inside the image, on a cluster boundary, apart from the others. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Name of the backing file as it stands in the image: perhaps relative to the image, perhaps a `json:` or protocol name. */
  readonly backingFile: string | undefined;
  /** 9..21 */
  readonly clusterBits: number;
  /** Virtual size. */
  readonly size: number;
  /** Entries of the active L1 table. */
  readonly l1Size: number;
  readonly l1TableOffset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Bits of {@linkcode Incompatible}, no others. */
  readonly incompatibleFeatures: bigint;
  /** Bits of {@linkcode Compatible}; unknown ones are kept. */
  readonly compatibleFeatures: bigint;
  /** Bits of {@linkcode Autoclear}, and unknown ones. */
  readonly autoclearFeatures: bigint;
  /** A refcount has `1 << refcountOrder` bits; 0..6. */
  readonly refcountOrder: number;
  /** Bytes of the header proper, without extensions. */
  readonly headerLength: number;
  /** A value of {@linkcode CompressionType}. */
  readonly compressionType: number;
  /** All extensions, in their order. */
  readonly extensions: ParsedExtensions["extensions"];
  /** Format of the backing file ("raw", "qcow2"). */
  readonly backingFormat: string | undefined;
  /** Name of the external data file. */
  readonly dataFile: string | undefined;
  /** Where the directory of bitmaps lies. */
  readonly bitmaps: ParsedExtensions["bitmaps"];
}

/** What the file that holds the image is, for checks and messages. */
export interface ImageFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** Whether a feature word has a bit. */
export function hasFeature(features: bigint, bit: bigint): boolean {
  return (features & bit) !== 0n;
}

/** Whether a file begins as qcow2 images do. */
export function isQcow2(start: Uint8Array): boolean {
  return start.length >= 8 && viewOf(start).getUint32(HeaderField.MAGIC) === QCOW2_MAGIC;
}

/**
 * Reads and checks the header of an image.
 *
 * @throws {Error} in one line that names the image, the field and its value.
 */
export function* readHeader(file: HostFile): Coroutine<Qcow2Header> {
  const start = new Uint8Array(Math.min(V3_HEADER_LENGTH, file.size));
  yield* waitFor((done) => file.read(0, start, done));
  const clusterSize = 2 ** checkStart(start, file);
  const cluster = new Uint8Array(Math.min(clusterSize, file.size));
  yield* waitFor((done) => file.read(0, cluster, done));
  return parseHeader(cluster, file);
}

/**
 * Checks and decodes a header.
 *
 * @param bytes The first cluster of the image, or all of an image that is shorter.
 * @throws {Error} in one line that names the image, the field and its value.
 */
export function parseHeader(bytes: Uint8Array, file: ImageFile): Qcow2Header {
  checkStart(bytes, file);
  const view = viewOf(bytes);
  const u32 = (at: number) => view.getUint32(at);
  const version = u32(HeaderField.VERSION) as 2 | 3;
  const fields = { ...versionedFields(view, version, bytes, file), ...tableFields(view) };
  const { headerLength, incompatibleFeatures } = fields;
  const extensions = parseExtensions(bytes.subarray(headerLength, extensionsEnd(view, bytes)), file.name);
  const header: Qcow2Header = {
    version,
    clusterBits: u32(HeaderField.CLUSTER_BITS),
    backingFile: backingName(view, bytes, headerLength, file),
    ...fields,
    ...extensions,
  };
  checkFeatures(incompatibleFeatures, extensions, file);
  checkEncryption(u32(HeaderField.CRYPT_METHOD), extensions, file);
  checkCompression(header, file);
  checkCombinations(header, file);
  checkTables(header, file);
  return header;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes a safe integer as 64 bits. */
export function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value >>> 0);
}

/** Reads 64 bits; a value beyond the safe integers comes out inexact, but beyond them all the same. */
export function getUint64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

/** A refusal. */
function refuse(file: ImageFile, problem: string): never {
  throw new Error(`Cannot open ${file.name}: ${problem}`);
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** Checks what tells how much of the rest there is to read. @returns cluster_bits. */
function checkStart(bytes: Uint8Array, file: ImageFile): number {
  if (bytes.length < V2_HEADER_LENGTH) refuse(file, `${bytes.length} bytes are too few for a qcow2 header`);
  const view = viewOf(bytes);
  const magic = view.getUint32(HeaderField.MAGIC);
  if (magic !== QCOW2_MAGIC) refuse(file, `it is no qcow2 image: its magic number is ${hex(magic)}`);
  const version = view.getUint32(HeaderField.VERSION);
  if (version !== 2 && version !== 3) refuse(file, `version ${version} of qcow2 is not supported, only 2 and 3 are`);
  if (version === 3 && bytes.length < V3_HEADER_LENGTH) {
    refuse(file, `${bytes.length} bytes are too few for a qcow2 header of version 3`);
  }
  const bits = view.getUint32(HeaderField.CLUSTER_BITS);
  if (bits < Limits.MIN_CLUSTER_BITS || bits > Limits.MAX_CLUSTER_BITS) {
    refuse(file, `cluster_bits ${bits} is not in ${Limits.MIN_CLUSTER_BITS}..${Limits.MAX_CLUSTER_BITS}`);
  }
  return bits;
}

type VersionedFields = Pick<
  Qcow2Header,
  | "incompatibleFeatures"
  | "compatibleFeatures"
  | "autoclearFeatures"
  | "refcountOrder"
  | "headerLength"
  | "compressionType"
>;

/** The fields that version 2 has not. */
function versionedFields(view: DataView, version: 2 | 3, bytes: Uint8Array, file: ImageFile): VersionedFields {
  if (version === 2) {
    return {
      incompatibleFeatures: 0n,
      compatibleFeatures: 0n,
      autoclearFeatures: 0n,
      refcountOrder: 4,
      headerLength: V2_HEADER_LENGTH,
      compressionType: CompressionType.ZLIB,
    };
  }
  const headerLength = view.getUint32(HeaderField.HEADER_LENGTH);
  const refcountOrder = view.getUint32(HeaderField.REFCOUNT_ORDER);
  const cluster = 2 ** view.getUint32(HeaderField.CLUSTER_BITS);
  if (headerLength < V3_HEADER_LENGTH) refuse(file, `header_length ${headerLength} is below ${V3_HEADER_LENGTH}`);
  if (headerLength % 8 !== 0) refuse(file, `header_length ${headerLength} is not a multiple of 8`);
  if (headerLength > cluster) refuse(file, `header_length ${headerLength} is beyond the cluster size ${cluster}`);
  if (headerLength > bytes.length) refuse(file, `header_length ${headerLength} is beyond the end of the file`);
  if (refcountOrder > Limits.MAX_REFCOUNT_ORDER) {
    refuse(file, `refcount_order ${refcountOrder} is not in 0..${Limits.MAX_REFCOUNT_ORDER}`);
  }
  return {
    incompatibleFeatures: view.getBigUint64(HeaderField.INCOMPATIBLE_FEATURES),
    compatibleFeatures: view.getBigUint64(HeaderField.COMPATIBLE_FEATURES),
    autoclearFeatures: view.getBigUint64(HeaderField.AUTOCLEAR_FEATURES),
    refcountOrder,
    headerLength,
    compressionType: headerLength > HeaderField.COMPRESSION_TYPE ? bytes[HeaderField.COMPRESSION_TYPE] : 0,
  };
}

function tableFields(view: DataView) {
  return {
    size: getUint64(view, HeaderField.SIZE),
    l1Size: view.getUint32(HeaderField.L1_SIZE),
    l1TableOffset: getUint64(view, HeaderField.L1_TABLE_OFFSET),
    refcountTableOffset: getUint64(view, HeaderField.REFCOUNT_TABLE_OFFSET),
    refcountTableClusters: view.getUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS),
    snapshotCount: view.getUint32(HeaderField.NB_SNAPSHOTS),
    snapshotsOffset: getUint64(view, HeaderField.SNAPSHOTS_OFFSET),
  };
}

/** Where the extensions end at the latest: at the backing file's name, which follows them, or with the cluster. */
function extensionsEnd(view: DataView, bytes: Uint8Array): number {
  const nameOffset = getUint64(view, HeaderField.BACKING_FILE_OFFSET);
  const cluster = 2 ** view.getUint32(HeaderField.CLUSTER_BITS);
  return Math.min(nameOffset === 0 ? cluster : nameOffset, cluster, bytes.length);
}

function backingName(view: DataView, bytes: Uint8Array, headerLength: number, file: ImageFile): string | undefined {
  const offset = getUint64(view, HeaderField.BACKING_FILE_OFFSET);
  if (offset === 0) return undefined;
  const length = view.getUint32(HeaderField.BACKING_FILE_SIZE);
  const cluster = 2 ** view.getUint32(HeaderField.CLUSTER_BITS);
  if (length > Limits.MAX_BACKING_NAME) {
    refuse(file, `backing_file_size ${length} is beyond ${Limits.MAX_BACKING_NAME}`);
  }
  if (length === 0) return undefined;
  if (offset < headerLength) refuse(file, `backing_file_offset ${hex(offset)} lies in the header`);
  if (offset + length > Math.min(cluster, bytes.length)) {
    refuse(
      file,
      `backing_file_offset ${hex(offset)} with backing_file_size ${length} reaches beyond the first cluster`,
    );
  }
  return decodeString(bytes.subarray(offset, offset + length), "backing file name", file.name);
}

function checkFeatures(features: bigint, { featureNames }: ParsedExtensions, file: ImageFile): void {
  const unknown = features & ~KNOWN_INCOMPATIBLE;
  if (unknown === 0n) return;
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((unknown >> BigInt(bit)) & 1n) === 0n) continue;
    const named = featureNames.find(({ type, bit: at }) => type === "incompatible" && at === bit);
    names.push(named === undefined ? `bit ${bit}` : `'${named.name}' (bit ${bit})`);
  }
  refuse(file, `it needs incompatible_features that are not supported: ${names.join(", ")}`);
}

const CRYPT_METHODS: readonly string[] = ["none", "AES", "LUKS"];

function checkEncryption(method: number, { hasEncryption }: ParsedExtensions, file: ImageFile): void {
  if (method !== 0) {
    refuse(file, `encryption is not supported (crypt_method ${method}, ${CRYPT_METHODS[method] ?? "unknown"})`);
  }
  if (hasEncryption) refuse(file, "it has a full disk encryption header, but crypt_method 0");
}

function checkCompression({ compressionType, incompatibleFeatures }: Qcow2Header, file: ImageFile): void {
  const flagged = hasFeature(incompatibleFeatures, Incompatible.COMPRESSION_TYPE);
  if (flagged !== (compressionType !== CompressionType.ZLIB)) {
    refuse(file, `compression_type ${compressionType} contradicts the compression type bit of incompatible_features`);
  }
  if (compressionType > CompressionType.ZSTD) {
    refuse(file, `compression_type ${compressionType} is not supported, only 0 (zlib) and 1 (zstd) are`);
  }
}

/** What the features demand of the other fields. */
function checkCombinations(header: Qcow2Header, file: ImageFile): void {
  const { incompatibleFeatures, autoclearFeatures, clusterBits } = header;
  const external = hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE);
  if (hasFeature(incompatibleFeatures, Incompatible.EXTENDED_L2) && clusterBits < Limits.MIN_EXTENDED_CLUSTER_BITS) {
    const least = Limits.MIN_EXTENDED_CLUSTER_BITS;
    refuse(file, `cluster_bits ${clusterBits} is below ${least}, which extended L2 entries need`);
  }
  if (hasFeature(autoclearFeatures, Autoclear.RAW_EXTERNAL_DATA)) {
    if (!external) refuse(file, "the raw external data bit of autoclear_features is set without an external data file");
    if (header.backingFile !== undefined) refuse(file, "a raw external data file cannot have a backing file");
  }
  if (external && header.snapshotCount !== 0) {
    refuse(file, `nb_snapshots ${header.snapshotCount} with an external data file, which cannot have snapshots`);
  }
  if (hasFeature(autoclearFeatures, Autoclear.BITMAPS) && header.bitmaps === undefined) {
    refuse(file, "the bitmaps bit of autoclear_features is set without the bitmaps extension");
  }
}

/** A run of clusters that the header points at. */
interface Range {
  readonly field: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Guest bytes that one L1 entry covers. */
export function bytesPerL1Entry({ clusterBits, incompatibleFeatures }: Qcow2Header): number {
  const entryBytes = hasFeature(incompatibleFeatures, Incompatible.EXTENDED_L2) ? 16 : 8;
  return 2 ** clusterBits * (2 ** clusterBits / entryBytes);
}

function checkTables(header: Qcow2Header, file: ImageFile): void {
  const { size, l1Size, clusterBits, refcountTableClusters, snapshotCount } = header;
  const cluster = 2 ** clusterBits;
  if (!Number.isSafeInteger(size)) refuse(file, `size ${hex(size)} is beyond 8 PiB`);
  if (l1Size * 8 > Limits.MAX_L1_TABLE) refuse(file, `l1_size ${l1Size} is beyond ${Limits.MAX_L1_TABLE / 8}`);
  const needed = Math.ceil(size / bytesPerL1Entry(header));
  if (l1Size < needed) refuse(file, `l1_size ${l1Size} is below ${needed}, which size ${size} needs`);
  if (refcountTableClusters === 0) refuse(file, "refcount_table_clusters is 0");
  if (refcountTableClusters * cluster > Limits.MAX_REFCOUNT_TABLE) {
    refuse(file, `refcount_table_clusters ${refcountTableClusters} is beyond ${Limits.MAX_REFCOUNT_TABLE / cluster}`);
  }
  if (snapshotCount > Limits.MAX_SNAPSHOTS) {
    refuse(file, `nb_snapshots ${snapshotCount} is beyond ${Limits.MAX_SNAPSHOTS}`);
  }
  const ranges: Range[] = [
    { field: "header", offset: 0, bytes: cluster },
    { field: "l1_table_offset", offset: header.l1TableOffset, bytes: l1Size * 8 },
    {
      field: "refcount_table_offset",
      offset: header.refcountTableOffset,
      bytes: refcountTableClusters * cluster,
    },
    // Entries have 40 bytes at least.
    { field: "snapshots_offset", offset: header.snapshotsOffset, bytes: snapshotCount * 40 },
  ];
  checkRanges(ranges.filter(({ bytes }) => bytes > 0), cluster, file);
}

function checkRanges(ranges: readonly Range[], cluster: number, file: ImageFile): void {
  const fileEnd = Math.ceil(file.size / cluster) * cluster;
  for (const { field, offset, bytes } of ranges) {
    if (offset % cluster !== 0) {
      refuse(file, `${field} ${hex(offset)} is not a multiple of the cluster size ${cluster}`);
    }
    if (offset + bytes > fileEnd) {
      refuse(
        file,
        `${field} ${hex(offset)}: ${bytes} bytes there reach beyond the end of the file at ${hex(file.size)}`,
      );
    }
  }
  const sorted = [...ranges].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    const [before, after] = [sorted[i - 1], sorted[i]];
    if (after.offset < before.offset + before.bytes) {
      const place = before.field === "header" ? "the header" : `${before.field} ${hex(before.offset)}`;
      refuse(file, `${after.field} ${hex(after.offset)} overlaps ${place}`);
    }
  }
}
