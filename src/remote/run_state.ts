/**
 * Whether a device process runs, or holds requests that the host could not carry out until somebody says `cont`; and what
 * there is to say about its drives.
 *
 * @module
 */
import type { BlockDevice } from "../block/block_device.ts";
import type { Clock } from "../device/pci_device.ts";
import { errorChain } from "../error_chain.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";
import { CACHE_POLICIES, type ScsiDiskConfig } from "../options/storage.ts";
import type { BlockErrorAction, BlockInfo, BlockIoError, IoStatus } from "../qmp/block_info.ts";

/** An error of the host, and what a disk does about it. */
export interface BlockErrorReport {
  readonly operation: "read" | "write" | "flush" | "discard";
  readonly action: BlockErrorAction;
  readonly error: Error;
}

/** A request that waits for `cont`. */
export interface HeldRequest {
  /** It is not wanted any more. Calling it again, or after it was retried, does nothing. */
  cancel(): void;
}

/** Where a disk brings its errors. */
export interface DriveErrors {
  /** Tells whoever watches. With the action `stop`, {@linkcode hold} is called next. */
  report(report: BlockErrorReport): void;
  /** Keeps a request: `retry` is called once, unless the request is cancelled before. */
  hold(retry: () => void): HeldRequest;
}

/** A drive, as it was opened. */
export interface OpenedDrive {
  readonly disk: ScsiDiskConfig;
  readonly drive: BlockDevice;
  /** The image's format. */
  readonly format: string;
  /** How many images its contents come from besides itself. */
  readonly backingDepth: number;
}

/** Errors that do not stop anything are told at most so often for each drive, in nanoseconds: a guest can cause one after the other. */
const REPORT_INTERVAL = 1e9;

/** Longest reason in a {@linkcode BlockIoError}, in characters. */
const LONGEST_REASON = 200;

/** The run state of a device process, of which there are two: `running` and `io-error`. */
export class RunState {
  /** Called for each error that is to be told. @default {nobody} */
  onBlockError: (event: BlockIoError) => void = () => {};
  /** Called when the state changes. @default {nobody} */
  onChange: (status: "running" | "io-error") => void = () => {};

  readonly #clock: Pick<Clock, "now">;
  readonly #held = new Set<Retry>();
  readonly #drives: DriveRecord[] = [];

  /** @param clock Limits how often errors are told. */
  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /** `io-error` while a request is held. */
  get status(): "running" | "io-error" {
    return this.#held.size === 0 ? "running" : "io-error";
  }

  /** Makes a drive known. */
  addDrive(opened: OpenedDrive): DriveErrors {
    const record: DriveRecord = { opened, ioStatus: "ok", quietUntil: -Infinity };
    this.#drives.push(record);
    return {
      report: (report) => this.#report(record, report),
      hold: (retry) => this.#hold(retry),
    };
  }

  /** The drive is closed. */
  removeDrive(id: string): void {
    const at = this.#drives.findIndex(({ opened }) => opened.disk.drive.id === id);
    if (at >= 0) this.#drives.splice(at, 1);
  }

  /** What `query-block` answers. */
  blockInfo(): BlockInfo[] {
    return this.#drives.map(describe);
  }

  /**
   * Has every held request tried again. One that fails again is held again, until the next call. Whoever waits for an answer to `cont` is
   * to have it before: what fails again comes after it.
   */
  resume(): void {
    for (const drive of this.#drives) drive.ioStatus = "ok";
    if (this.#held.size === 0) return;
    const retries = [...this.#held];
    this.#held.clear();
    this.onChange("running");
    // One retry may be what cancels another.
    for (const retry of retries) retry.run?.();
  }

  #report(drive: DriveRecord, { operation, action, error }: BlockErrorReport): void {
    const nospace = isNoSpace(error);
    const now = this.#clock.now();
    if (action === "stop") drive.ioStatus = nospace ? "nospace" : "failed";
    else if (now < drive.quietUntil) return;
    else drive.quietUntil = now + REPORT_INTERVAL;
    this.onBlockError({
      device: drive.opened.disk.drive.id,
      operation: operation === "read" ? "read" : "write",
      action,
      nospace,
      reason: errorChain(error.cause ?? error).slice(0, LONGEST_REASON),
    });
  }

  #hold(run: () => void): HeldRequest {
    const retry: Retry = { run };
    this.#held.add(retry);
    if (this.#held.size === 1) this.onChange("io-error");
    return {
      cancel: () => {
        retry.run = undefined;
        if (this.#held.delete(retry) && this.#held.size === 0) this.onChange("running");
      },
    };
  }
}

/** A request that is held; without `run` once it was cancelled. */
interface Retry {
  run: (() => void) | undefined;
}

interface DriveRecord {
  readonly opened: OpenedDrive;
  ioStatus: IoStatus;
  /** When another error that stops nothing may be told. */
  quietUntil: number;
}

/** Whether the host had no space left for what was written, or the user has used up a quota. */
function isNoSpace(error: unknown): boolean {
  for (let next = error, depth = 0; next instanceof Error && depth < 8; next = next.cause, depth++) {
    if (next instanceof SyscallError && (next.errno === Errno.ENOSPC || next.errno === Errno.EDQUOT)) return true;
  }
  return false;
}

function describe({ opened: { disk, drive, format, backingDepth }, ioStatus }: DriveRecord): BlockInfo {
  const { id: device, file, cache, detectZeroes } = disk.drive;
  const { direct, ignoreFlush } = CACHE_POLICIES[cache];
  const canStop = disk.readErrors === "stop" || disk.writeErrors === "stop" || disk.writeErrors === "enospc";
  return {
    device,
    ...disk.id === undefined ? {} : { qdev: disk.id },
    type: "unknown",
    removable: false,
    locked: false,
    ...canStop ? { "io-status": ioStatus } : {},
    inserted: {
      file,
      ro: drive.readOnly,
      drv: format,
      backing_file_depth: backingDepth,
      encrypted: false,
      detect_zeroes: detectZeroes,
      ...{ bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0, write_threshold: 0 },
      image: { filename: file, format, "virtual-size": drive.size },
      cache: { writeback: drive.writeCache, direct, "no-flush": ignoreFlush },
    },
  };
}
