/**
 * Drives, SCSI disks and their controllers as the command line describes them, with everything checked and every
 * reference resolved. The device process builds devices from these; the VMM passes them on to device processes that it
 * spawns.
 *
 * @module
 */

/** `-drive cache=`, in QEMU's names. */
export type CacheMode = "writeback" | "none" | "writethrough" | "directsync" | "unsafe";

/** What a {@linkcode CacheMode} asks for. */
export interface CachePolicy {
  /** Bypass the host's page cache (`O_DIRECT`). */
  readonly direct: boolean;
  /** Written data may sit in a volatile cache until the guest flushes; otherwise each write is on stable storage first. */
  readonly writeCache: boolean;
  /** Guest flushes are not carried out: the image may be lost when the host goes down. */
  readonly ignoreFlush: boolean;
}

/** The meaning of each cache mode (QEMU's manual, "-drive", table of cache modes). */
export const CACHE_POLICIES: Readonly<Record<CacheMode, CachePolicy>> = {
  writeback: { direct: false, writeCache: true, ignoreFlush: false },
  none: { direct: true, writeCache: true, ignoreFlush: false },
  writethrough: { direct: false, writeCache: false, ignoreFlush: false },
  directsync: { direct: true, writeCache: false, ignoreFlush: false },
  unsafe: { direct: false, writeCache: true, ignoreFlush: true },
};

/**
 * What a disk does when the host fails to carry out a request, in QEMU's names: tell the guest (`report`), say that all went
 * well (`ignore`), or hold the request and stop the VM, so that it can be carried out again once the VM is resumed (`stop`).
 * `enospc` is `stop` when the host has no space left, and `report` otherwise.
 */
export type ErrorAction = "report" | "ignore" | "stop" | "enospc";

/** Image formats that are served. */
export type ImageFormat = "raw" | "qcow2";

/** How requests get to the host's kernel; it never changes what is stored. */
export type AioMode = "threads" | "native" | "io_uring";

/** Whether zeroes that the guest writes are looked for, and whether they may give space back, in QEMU's names. */
export type ZeroDetection = "off" | "on" | "unmap";

/** `-drive`: an image on the host. */
export interface DriveConfig {
  readonly id: string;
  /** Path of a regular file or block device, as given; never empty. */
  readonly file: string;
  /** `undefined`: to be told from the image's first bytes. */
  readonly format: ImageFormat | undefined;
  readonly readOnly: boolean;
  /** Whether what the guest writes is thrown away when the process ends. */
  readonly snapshot: boolean;
  readonly cache: CacheMode;
  /** Whether the guest's UNMAP gives space of the image back. */
  readonly discard: boolean;
  /** `unmap` only with {@linkcode discard}. */
  readonly detectZeroes: ZeroDetection;
  /** `undefined`: the best that the host's kernel has. */
  readonly aio: AioMode | undefined;
}

/** `-device scsi-hd`: a disk on a SCSI bus. */
export interface ScsiDiskConfig {
  /** The user's name for it; `undefined` when none was given. */
  readonly id: string | undefined;
  readonly drive: DriveConfig;
  /** Target id, 0-15 without 7, which is the adapter's own; unique on its bus together with {@linkcode lun}. */
  readonly scsiId: number;
  /** Logical unit number, 0-7. */
  readonly lun: number;
  /** Unit serial number, at most 36 printable ASCII characters; `undefined` for a disk without one. */
  readonly serial: string | undefined;
  /** INQUIRY vendor identification, at most 8 printable ASCII characters. */
  readonly vendor: string;
  /** INQUIRY product identification, at most 16 printable ASCII characters. */
  readonly product: string;
  /** INQUIRY product revision level, at most 4 printable ASCII characters. */
  readonly version: string;
  /** World-wide name (NAA designator) of 64 bits; `undefined` for a disk without one. */
  readonly wwn: bigint | undefined;
  /** Bytes, a power of two from 512 to 32768. */
  readonly logicalBlockSize: number;
  /** Bytes, a power of two from {@linkcode logicalBlockSize} to 32768. */
  readonly physicalBlockSize: number;
  /** What becomes of reads that fail. */
  readonly readErrors: Exclude<ErrorAction, "enospc">;
  /** What becomes of writes, flushes and unmaps that fail. */
  readonly writeErrors: ErrorAction;
}

/** `-device lsi53c895a`: a SCSI host adapter with the disks on its bus. */
export interface ControllerConfig {
  readonly driver: "lsi53c895a";
  /** The user's name for it, or one made up that no user's name equals. */
  readonly id: string;
  readonly disks: readonly ScsiDiskConfig[];
}
