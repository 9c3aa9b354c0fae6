/**
 * The options of new qcow2 images, and which of them go together.
 *
 * @module
 */
import type { HostFile } from "../host_file.ts";
import { Limits } from "./header.ts";

/** How much of an image is allocated in advance: nothing, the tables, or the data too (unwritten, or written as zeroes). */
export type Preallocation = "off" | "metadata" | "falloc" | "full";

/** The options of `qemu-img create -f qcow2 -o`; the names in brackets are the user's. */
export interface CreateOptions {
  /** Virtual size in bytes; rounded up to a multiple of 512. */
  readonly size: number;
  /** [compat] 2 for 0.10, 3 for 1.1. @default {3} */
  readonly version?: 2 | 3;
  /** [cluster_size] Bytes; a power of two from 512 to 2 MiB. @default {65536} */
  readonly clusterSize?: number;
  /** [refcount_bits] A power of two up to 64. @default {16} */
  readonly refcountBits?: number;
  /** [lazy_refcounts] @default {false} */
  readonly lazyRefcounts?: boolean;
  /** [extended_l2] @default {false} */
  readonly extendedL2?: boolean;
  /** [preallocation] @default {"off"} */
  readonly preallocation?: Preallocation;
  /** [compression_type] @default {"zlib"} */
  readonly compressionType?: "zlib" | "zstd";
  /** [backing_file] As it is to be stored; not looked at. */
  readonly backingFile?: string;
  /** [backing_fmt] */
  readonly backingFormat?: string;
  /** [data_file] The name as it is to be stored. */
  readonly dataFile?: string;
  /** [data_file_raw] The data file is a raw image of its own. @default {false} */
  readonly dataFileRaw?: boolean;
  /** The data file itself, empty; it gets the virtual size. */
  readonly dataHostFile?: HostFile;
  /** Told how much of all work is done, 0 to 1. */
  readonly progress?: (fraction: number) => void;
}

/** Every option that shapes the image, with the virtual size that it gets. */
export type CreateSettings = Required<
  Omit<CreateOptions, "backingFile" | "backingFormat" | "dataFile" | "dataHostFile" | "progress">
>;

const NEEDS_COMPAT_1_1 = "only supported with compat=1.1";

/**
 * Fills in what was not asked for.
 *
 * @throws {Error} naming the option when the options do not go together.
 */
export function settleOptions(options: CreateOptions): CreateSettings {
  const settings = settle(options);
  checkOptions(settings, options);
  return settings;
}

function settle(options: CreateOptions): CreateSettings {
  const dataFileRaw = options.dataFileRaw ?? false;
  const preallocation = options.preallocation ?? "off";
  return {
    size: Math.ceil(options.size / 512) * 512,
    version: options.version ?? 3,
    clusterSize: options.clusterSize ?? 65536,
    refcountBits: options.refcountBits ?? 16,
    lazyRefcounts: options.lazyRefcounts ?? false,
    extendedL2: options.extendedL2 ?? false,
    compressionType: options.compressionType ?? "zlib",
    dataFileRaw,
    // Every cluster of a raw data file holds its part of the disk, whether it was ever written or not.
    preallocation: dataFileRaw && preallocation === "off" ? "metadata" : preallocation,
  };
}

function checkOptions(settings: CreateSettings, options: CreateOptions): void {
  const { clusterSize, refcountBits, version } = settings;
  if (!isPowerOfTwo(clusterSize) || clusterSize < 512 || clusterSize > 2 ** Limits.MAX_CLUSTER_BITS) {
    throw new Error(`cluster_size must be a power of two between 512 and 2M, not ${clusterSize}`);
  }
  if (!isPowerOfTwo(refcountBits) || refcountBits > 64) {
    throw new Error(`refcount_bits must be a power of two up to 64, not ${refcountBits}`);
  }
  if (version === 2) checkVersion2(settings, options);
  const least = 2 ** Limits.MIN_EXTENDED_CLUSTER_BITS;
  if (settings.extendedL2 && clusterSize < least) {
    throw new Error(`extended_l2=on needs a cluster_size of at least ${least}, not ${clusterSize}`);
  }
  if (options.backingFormat !== undefined && options.backingFile === undefined) {
    throw new Error("backing_fmt needs a backing_file");
  }
  if (settings.dataFileRaw && options.dataFile === undefined) throw new Error("data_file_raw=on needs a data_file");
  if (options.backingFile !== undefined) {
    if (settings.dataFileRaw) throw new Error("backing_file and data_file_raw=on cannot be used together");
    if (settings.preallocation !== "off" && !settings.extendedL2) {
      throw new Error("backing_file and preallocation can only be used together with extended_l2=on");
    }
  }
  if (new TextEncoder().encode(options.backingFile).length > Limits.MAX_BACKING_NAME) {
    throw new Error(`backing_file is longer than ${Limits.MAX_BACKING_NAME} bytes`);
  }
  for (const [name, value] of Object.entries({ backing_file: options.backingFile, data_file: options.dataFile })) {
    if (value === "") throw new Error(`${name} is empty`);
  }
}

function checkVersion2(settings: CreateSettings, options: CreateOptions): void {
  if (settings.refcountBits !== 16) throw new Error(`refcount_bits other than 16 are ${NEEDS_COMPAT_1_1}`);
  if (settings.lazyRefcounts) throw new Error(`lazy_refcounts=on is ${NEEDS_COMPAT_1_1}`);
  if (settings.extendedL2) throw new Error(`extended_l2=on is ${NEEDS_COMPAT_1_1}`);
  if (settings.compressionType !== "zlib") {
    throw new Error(`compression_type=${settings.compressionType} is ${NEEDS_COMPAT_1_1}`);
  }
  if (options.dataFile !== undefined) throw new Error(`data_file is ${NEEDS_COMPAT_1_1}`);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}
