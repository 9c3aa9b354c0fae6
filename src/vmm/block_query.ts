/**
 * The answer to `query-block`: what the machine was configured with, and what its device processes say about it.
 *
 * @module
 */
import { CACHE_POLICIES, type ScsiDiskConfig } from "../options/storage.ts";
import type { BlockInfo, InsertedImage, IoStatus } from "../qmp/block_info.ts";
import { isObject } from "../qmp/protocol.ts";

const IO_STATUSES: readonly unknown[] = ["ok", "failed", "nospace"] satisfies IoStatus[];

/** A drive of which its process has said nothing, or nothing that makes sense: it has no image that anybody knows of. */
export type UnansweredDrive = Omit<BlockInfo, "inserted">;

/**
 * Describes the drives of a process.
 *
 * @param disks The drives that it was given.
 * @param answer What it answered to `query-block`. It is not trusted: names are taken from the configuration, and of the rest only what has the
 * right form.
 */
export function describeDrives(
  disks: readonly ScsiDiskConfig[],
  answer: unknown,
): (BlockInfo | UnansweredDrive)[] {
  const entries = Array.isArray(answer) ? answer.filter(isObject) : [];
  return disks.map((disk) => {
    const entry = entries.find(({ device }) => device === disk.drive.id);
    const inserted = entry && insertedImage(disk, entry.inserted);
    const ioStatus = entry?.["io-status"];
    return {
      device: disk.drive.id,
      ...disk.id === undefined ? {} : { qdev: disk.id },
      ...{ type: "unknown", removable: false, locked: false } as const,
      ...IO_STATUSES.includes(ioStatus) ? { "io-status": ioStatus as IoStatus } : {},
      ...inserted === undefined ? {} : { inserted },
    };
  });
}

function insertedImage({ drive }: ScsiDiskConfig, given: unknown): InsertedImage | undefined {
  if (!isObject(given) || !isObject(given.image) || !isObject(given.cache)) return undefined;
  const { drv: format, ro, backing_file_depth: depth, image: { "virtual-size": size }, cache: { writeback } } = given;
  if (format !== "raw" && format !== "qcow2") return undefined;
  if (typeof ro !== "boolean" || typeof writeback !== "boolean" || !isCount(depth) || !isCount(size)) return undefined;
  const { direct, ignoreFlush } = CACHE_POLICIES[drive.cache];
  return {
    ...{ file: drive.file, ro, drv: format, backing_file_depth: depth, encrypted: false },
    detect_zeroes: drive.detectZeroes,
    ...{ bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0, write_threshold: 0 },
    image: { filename: drive.file, format, "virtual-size": size },
    cache: { writeback, direct, "no-flush": ignoreFlush },
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
