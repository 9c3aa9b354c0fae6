/**
 * What `img info` tells about an image: the fields of QEMU's ImageInfo (qapi/block-core.json), by QEMU's names.
 *
 * @module
 */
import type { Coroutine } from "../block/coroutine.ts";
import { folderOf, resolveImageName } from "../block/image_names.ts";
import { type BitmapInfo, readBitmapDirectory } from "../block/qcow2/bitmaps.ts";
import {
  Autoclear,
  Compatible,
  CompressionType,
  hasFeature,
  Incompatible,
  type Qcow2Header,
} from "../block/qcow2/header.ts";
import { readSnapshotTable, type Snapshot } from "../block/qcow2/snapshots.ts";
import type { Format } from "./command_table.ts";
import { type ImageFile, virtualSize } from "./image_file.ts";

/** An internal snapshot. Sizes are bytes. */
export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  readonly "vm-state-size": number;
  readonly "date-sec": number;
  readonly "date-nsec": number;
  readonly "vm-clock-sec": number;
  readonly "vm-clock-nsec": number;
  readonly icount?: number;
}

/** What only qcow2 images have. */
export interface Qcow2Info {
  readonly compat: "0.10" | "1.1";
  readonly "compression-type": "zlib" | "zstd";
  readonly "lazy-refcounts"?: boolean;
  readonly bitmaps?: readonly BitmapInfo[];
  readonly "refcount-bits": number;
  readonly "data-file"?: string;
  readonly "data-file-raw"?: boolean;
  readonly corrupt?: boolean;
  readonly "extended-l2"?: boolean;
}

/** An image. Sizes are bytes. */
export interface ImageInfo {
  readonly filename: string;
  readonly format: Format;
  readonly "virtual-size": number;
  readonly "actual-size": number;
  readonly "dirty-flag": boolean;
  readonly "cluster-size"?: number;
  readonly "backing-filename"?: string;
  readonly "full-backing-filename"?: string;
  readonly "backing-filename-format"?: string;
  readonly snapshots?: readonly SnapshotInfo[];
  readonly "format-specific"?: { readonly type: "qcow2"; readonly data: Qcow2Info };
}

/**
 * Describes an image. Fields of `undefined` are those that it has not.
 *
 * @param filename The path by which the image was opened.
 * @param actualSize Bytes that the image's files take on their file systems.
 * @throws {Error} naming what is wrong with the image.
 */
export function* describeImage(image: ImageFile, filename: string, actualSize: number): Coroutine<ImageInfo> {
  const common = { filename, "virtual-size": virtualSize(image), "actual-size": actualSize };
  if (image.format === "raw") return { ...common, format: "raw", "dirty-flag": false };
  const { file, header } = image;
  const { snapshots } = yield* readSnapshotTable(file, header);
  const marked = hasFeature(header.autoclearFeatures, Autoclear.BITMAPS);
  const bitmaps = marked ? yield* readBitmapDirectory(file, header) : [];
  const backing = header.backingFile;
  return {
    ...common,
    format: "qcow2",
    "dirty-flag": hasFeature(header.incompatibleFeatures, Incompatible.DIRTY),
    "cluster-size": 2 ** header.clusterBits,
    "backing-filename": backing,
    "full-backing-filename": backing === undefined ? undefined : fullName(filename, backing),
    "backing-filename-format": backing === undefined ? undefined : header.backingFormat,
    snapshots: snapshots.length > 0 ? snapshots.map(snapshotInfo) : undefined,
    "format-specific": { type: "qcow2", data: specificInfo(header, bitmaps) },
  };
}

/** The path of a backing file; `undefined` for a name that stands for none. */
function fullName(image: string, name: string): string | undefined {
  try {
    return resolveImageName(name, folderOf(image));
  } catch {
    return undefined;
  }
}

function snapshotInfo(snapshot: Snapshot): SnapshotInfo {
  const { instructions } = snapshot;
  return {
    id: snapshot.id,
    name: snapshot.name,
    "vm-state-size": snapshot.vmStateSize,
    "date-sec": snapshot.dateSeconds,
    "date-nsec": snapshot.dateNanoseconds,
    "vm-clock-sec": snapshot.vmClockSeconds,
    "vm-clock-nsec": snapshot.vmClockNanoseconds,
    icount: instructions === undefined ? undefined : Number(instructions),
  };
}

function specificInfo(header: Qcow2Header, bitmaps: readonly BitmapInfo[]): Qcow2Info {
  const compression = header.compressionType === CompressionType.ZSTD ? "zstd" : "zlib";
  const common = { "compression-type": compression, "refcount-bits": 2 ** header.refcountOrder } as const;
  if (header.version === 2) return { compat: "0.10", ...common };
  const { incompatibleFeatures, autoclearFeatures, compatibleFeatures } = header;
  const external = hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE);
  return {
    compat: "1.1",
    ...common,
    "lazy-refcounts": hasFeature(compatibleFeatures, Compatible.LAZY_REFCOUNTS),
    bitmaps: bitmaps.length > 0 ? bitmaps : undefined,
    "data-file": header.dataFile,
    "data-file-raw": external ? hasFeature(autoclearFeatures, Autoclear.RAW_EXTERNAL_DATA) : undefined,
    corrupt: hasFeature(incompatibleFeatures, Incompatible.CORRUPT),
    "extended-l2": hasFeature(incompatibleFeatures, Incompatible.EXTENDED_L2),
  };
}
