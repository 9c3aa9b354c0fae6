/**
 * What the commands of a disk work on: its options, checked, and its state.
 *
 * @module
 */
import { defineState } from "../../device/state.ts";
import type { BlockDevice } from "../../block/block_device.ts";
import type { BlockRange } from "./cdb.ts";
import type { ChunkPool, ChunkPoolOptions } from "./chunk_pool.ts";
import type { Wait } from "../../block/coroutine.ts";
import { type BlockErrorOptions, BlockErrors, blockErrorSense, type BlockOperation } from "./block_errors.ts";
import type { Steps } from "./steps.ts";
import type { Outcome } from "./task.ts";
import { SenseCode } from "./sense.ts";

/** A disk's properties, in the terms of `-device scsi-hd`. */
export interface ScsiDiskOptions extends BlockErrorOptions {
  /** Bytes in a logical block: a power of two from 512 to 32768. @default {512} */
  readonly logicalBlockSize?: number;
  /** Bytes that the medium writes at once: a power of two, not below the logical block. @default {logicalBlockSize} */
  readonly physicalBlockSize?: number;
  /** INQUIRY vendor identification, at most 8 printable ASCII characters. @default {"SPLITVM"} */
  readonly vendor?: string;
  /** INQUIRY product identification, at most 16. @default {"SPLITVM HARDDISK"} */
  readonly product?: string;
  /** INQUIRY product revision level, at most 4. @default {"1.0"} */
  readonly version?: string;
  /** Unit serial number, at most 36; without one the disk has no VPD page 0x80. */
  readonly serial?: string;
  /** What names the disk in VPD page 0x83, at most 64. @default {serial} */
  readonly deviceId?: string;
  /** World-wide name: an NAA designator of 64 bits. */
  readonly wwn?: bigint;
  /** Revolutions a minute as VPD page 0xb1 has it; 1 is solid state, 0 says nothing. @default {0} */
  readonly rotationRate?: number;
  /**
   * How many commands may be in progress. Each holds at most 256 KiB, and all together another 16 MiB to read ahead and to write behind.
   *
   * @default {64}
   */
  readonly queueDepth?: number;
  /** Makes the buffers for data; see {@linkcode ChunkPoolOptions.allocate}. */
  readonly allocate?: ChunkPoolOptions["allocate"];
}

/** What the guest may change; back to the defaults at reset. */
export const DiskState = defineState("scsi-disk", 1, {
  /** START STOP UNIT has stopped it. */
  stopped: "bool",
  /** RESERVE; there is nobody else on the bus whom it could keep out. */
  reserved: "bool",
  /** WCE of the caching mode page. */
  writeCacheEnabled: "bool",
});

/** A disk as its commands see it. Sizes are bytes unless they say blocks. */
export interface DiskModel {
  readonly drive: BlockDevice;
  readonly blockSize: number;
  /** Capacity, in logical blocks: what of the image makes whole ones. */
  readonly blocks: number;
  /** Logical blocks in a physical one, as a power of two. */
  readonly physicalExponent: number;
  readonly vendor: string;
  readonly product: string;
  readonly version: string;
  readonly serial: string | undefined;
  readonly deviceId: string | undefined;
  readonly wwn: bigint | undefined;
  readonly rotationRate: number;
  readonly state: ReturnType<typeof DiskState.allocate>;
  readonly buffers: ChunkPool;
  readonly errors: BlockErrors;
}

/**
 * Limits that the Block Limits page announces (SBC-3, section 6.6.3), in bytes. Memory does not set them, since all commands work in
 * chunks: they are what images get done within an initiator's patience, also those that unmap or write cluster by cluster.
 */
export const Limit = {
  TRANSFER: 256 * 1024 * 1024,
  UNMAP: 1024 * 1024 * 1024,
  UNMAP_DESCRIPTORS: 255,
  WRITE_SAME: 1024 * 1024 * 1024,
} as const;

const MIN_BLOCK_SIZE = 512;
const MAX_BLOCK_SIZE = 32768;

/** Checks a block size. @throws {RangeError} */
function blockSize(name: string, size: number, least: number): number {
  if (!Number.isInteger(Math.log2(size)) || size < least || size > MAX_BLOCK_SIZE) {
    throw new RangeError(`${name} is a power of two from ${least} to ${MAX_BLOCK_SIZE}, not ${size}`);
  }
  return size;
}

/** Checks a text for fixed-width ASCII data (SPC-4, section 4.4.1). @throws {TypeError} */
function ascii<T extends string | undefined>(name: string, text: T, longest: number): T {
  if (text !== undefined && (text.length > longest || !/^[\x20-\x7e]*$/.test(text))) {
    throw new TypeError(`${name} is at most ${longest} printable ASCII characters, not ${JSON.stringify(text)}`);
  }
  return text;
}

/** An integer within bounds. @throws {RangeError} */
function within(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} is ${least} to ${most}, not ${value}`);
  }
  return value;
}

/** Checked options, all defaults filled in; the identity of a disk. */
export type DiskIdentity = Omit<DiskModel, "drive" | "state" | "buffers"> & {
  readonly queueDepth: number;
  readonly allocate: ChunkPoolOptions["allocate"];
};

/**
 * Checks a disk's options against its image.
 *
 * @throws {RangeError | TypeError} naming the option that is wrong.
 */
export function checkOptions(drive: BlockDevice, options: ScsiDiskOptions): DiskIdentity {
  const logical = blockSize("logical_block_size", options.logicalBlockSize ?? 512, MIN_BLOCK_SIZE);
  const physical = blockSize("physical_block_size", options.physicalBlockSize ?? logical, logical);
  const blocks = Math.floor(drive.size / logical);
  if (blocks === 0) throw new RangeError(`An image of ${drive.size} bytes has no room for a block of ${logical}`);
  const { wwn } = options;
  if (wwn !== undefined && (wwn <= 0n || wwn >= 2n ** 64n)) {
    throw new RangeError(`wwn is a number of 64 bits other than 0, not ${wwn}`);
  }
  const serial = ascii("serial", options.serial || undefined, 36);
  return {
    blockSize: logical,
    blocks,
    physicalExponent: Math.log2(physical / logical),
    vendor: ascii("vendor", options.vendor ?? "SPLITVM", 8),
    product: ascii("product", options.product ?? "SPLITVM HARDDISK", 16),
    version: ascii("ver", options.version ?? "1.0", 4),
    serial,
    deviceId: ascii("device_id", options.deviceId || serial, 64),
    wwn,
    rotationRate: within("rotation_rate", options.rotationRate ?? 0, 0, 0xffff),
    queueDepth: within("queue depth", options.queueDepth ?? 64, 1, 256),
    allocate: options.allocate,
    errors: new BlockErrors(options),
  };
}

/** Whether the whole range lies on the medium (SBC-3, section 4.5). */
export function checkRange(disk: DiskModel, { lba, blocks }: BlockRange): Outcome {
  if (lba + blocks <= disk.blocks) return undefined;
  const firstBeyond = Math.max(lba, disk.blocks);
  return { ...SenseCode.LBA_OUT_OF_RANGE, information: Number.isSafeInteger(firstBeyond) ? firstBeyond : undefined };
}

/** What a command that uses the medium needs. */
export function checkReady(disk: DiskModel): Outcome {
  return disk.state.stopped ? SenseCode.INITIALIZING_COMMAND_REQUIRED : undefined;
}

/** What a command that changes the medium needs. */
export function checkWritable(disk: DiskModel): Outcome {
  return disk.drive.readOnly ? SenseCode.WRITE_PROTECTED : undefined;
}

/** Whether a write has to reach stable storage before the command ends: FUA, or no write cache. */
export function writesThrough(disk: DiskModel, fua: boolean): boolean {
  return fua || !disk.state.writeCacheEnabled;
}

/**
 * One request to the image, carried out again for as long as its errors have it held.
 *
 * @param lba First block of the request, for the sense data; `undefined` for a flush.
 * @returns `undefined` when it succeeded, or its error is to be ignored.
 */
export function* access(
  disk: DiskModel,
  operation: BlockOperation,
  lba: number | undefined,
  start: Wait,
): Steps<Outcome> {
  for (;;) {
    const error = yield start;
    if (error === undefined) return undefined;
    const action = disk.errors.decide(operation, error);
    if (action === "ignore") return undefined;
    if (action === "report") return { ...blockErrorSense(operation, error), information: lba };
    yield disk.errors;
  }
}

/** Puts everything written so far on stable storage. */
export function* flush(disk: DiskModel): Steps<Outcome> {
  return yield* access(disk, "flush", undefined, (done) => disk.drive.flush(done));
}
