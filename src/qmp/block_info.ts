/**
 * What QMP says about drives and their errors (QEMU 7.2, qapi/block-core.json): the answer to `query-block` and the event
 * BLOCK_IO_ERROR. A device process makes them; its VMM checks them and passes them on.
 *
 * @module
 */

/** Whether a drive has failed since the machine was last resumed. */
export type IoStatus = "ok" | "failed" | "nospace";

/** What was done about an error. */
export type BlockErrorAction = "ignore" | "report" | "stop";

/** An entry of `query-block` (BlockInfo, as far as it applies here). */
export interface BlockInfo {
  /** The drive's id. */
  readonly device: string;
  /** The id of the device that has the drive. */
  readonly qdev?: string;
  readonly type: "unknown";
  readonly removable: false;
  readonly locked: false;
  /** Only where an error can stop the machine. */
  readonly "io-status"?: IoStatus;
  readonly inserted: InsertedImage;
}

/** The image in a drive (BlockDeviceInfo). */
export interface InsertedImage {
  readonly file: string;
  readonly ro: boolean;
  /** The image's format. */
  readonly drv: string;
  readonly backing_file_depth: number;
  readonly encrypted: false;
  readonly detect_zeroes: "off" | "on" | "unmap";
  readonly bps: 0;
  readonly bps_rd: 0;
  readonly bps_wr: 0;
  readonly iops: 0;
  readonly iops_rd: 0;
  readonly iops_wr: 0;
  readonly write_threshold: 0;
  readonly image: { readonly filename: string; readonly format: string; readonly "virtual-size": number };
  readonly cache: { readonly writeback: boolean; readonly direct: boolean; readonly "no-flush": boolean };
}

/** Data of the event BLOCK_IO_ERROR. */
export interface BlockIoError {
  /** The drive's id. */
  readonly device: string;
  readonly operation: "read" | "write";
  readonly action: BlockErrorAction;
  /** Whether the host had no space left. */
  readonly nospace: boolean;
  /** For people. */
  readonly reason: string;
}
