/**
 * What a disk does when the host could not carry out a request: the policies of `rerror=` and `werror=`, the sense data that
 * the guest gets, and requests that wait to be carried out again.
 *
 * @module
 */
import type { ErrorAction } from "../../options/storage.ts";
import { type Sense, SenseCode } from "./sense.ts";

/** What was asked of the image when the host failed. */
export type BlockOperation = "read" | "write" | "flush" | "discard";

/** What a disk does about one error: tells the guest, goes on as if there had been none, or holds the request. */
export type BlockErrorAction = Exclude<ErrorAction, "enospc">;

/** An error of the host, and what the disk does about it. */
export interface BlockErrorReport {
  readonly operation: BlockOperation;
  readonly action: BlockErrorAction;
  readonly error: Error;
}

/** A request that waits to be carried out again. */
export interface HeldRequest {
  /** It is not wanted any more. Calling it again, or after the request was carried out again, does nothing. */
  cancel(): void;
}

/** How a disk deals with errors; part of its options. */
export interface BlockErrorOptions {
  /** What becomes of reads that fail. @default {"report"} */
  readonly readErrors?: BlockErrorAction;
  /** What becomes of writes, flushes and unmaps that fail. @default {"enospc"} */
  readonly writeErrors?: ErrorAction;
  /** Told of every error of the host, before anything is done about it. @default {nobody} */
  readonly onBlockError?: (report: BlockErrorReport) => void;
  /**
   * Keeps a request whose error has the action `stop`. `retry` is to be called once, from the loop, when the user has the machine go
   * on; not after the request was cancelled.
   *
   * @default {nobody: what would stop is reported}
   */
  readonly hold?: (retry: () => void) => HeldRequest;
}

/** Decides about errors. */
export class BlockErrors {
  readonly #options: BlockErrorOptions;

  constructor(options: BlockErrorOptions) {
    this.#options = options;
  }

  /** Says what to do about an error, and tells those who watch. */
  decide(operation: BlockOperation, error: Error): BlockErrorAction {
    const { readErrors = "report", writeErrors = "enospc", hold, onBlockError } = this.#options;
    const policy = operation === "read" ? readErrors : writeErrors;
    // Only ENOSPC is a matter of space to QEMU (block/block-backend.c, blk_get_error_action); a quota is one as well.
    const wanted = policy !== "enospc" ? policy : isNoSpace(error) ? "stop" : "report";
    const action = wanted === "stop" && hold === undefined ? "report" : wanted;
    onBlockError?.({ operation, action, error });
    return action;
  }

  /** Keeps a request for which {@linkcode decide} said `stop`. */
  hold(retry: () => void): HeldRequest {
    return this.#options.hold?.(retry) ?? { cancel() {} };
  }
}

/** `code` of the error or of what caused it: how the operating system named it. */
function errnoName(error: unknown): string | undefined {
  for (let depth = 0; error instanceof Error && depth < 8; depth++, error = error.cause) {
    const { code } = error as { code?: unknown };
    if (typeof code === "string") return code;
  }
  return undefined;
}

function isNoSpace(error: Error): boolean {
  const code = errnoName(error);
  return code === "ENOSPC" || code === "EDQUOT";
}

/**
 * What the guest is told of an error of the host.
 *
 * The kernel says ENODATA and EREMOTEIO where a disk of its own named medium or target as the cause (block/blk-core.c, blk_errors), and
 * EIO when it knows no more. The guest gets to know no more either, then: ABORTED COMMAND makes drivers try again, as under QEMU.
 */
export function blockErrorSense(operation: BlockOperation, error: Error): Sense {
  switch (errnoName(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return SenseCode.SPACE_ALLOCATION_FAILED;
    case "EROFS":
    case "EPERM":
    case "EACCES":
      return SenseCode.WRITE_PROTECTED;
    case "ENODATA":
      return operation === "read" ? SenseCode.UNRECOVERED_READ_ERROR : SenseCode.WRITE_ERROR;
    case "ENOMEDIUM":
      return SenseCode.MEDIUM_NOT_PRESENT;
    case "EINVAL":
      return SenseCode.INVALID_FIELD_IN_CDB;
    case "ENOMEM":
    case "EREMOTEIO":
      return SenseCode.INTERNAL_TARGET_FAILURE;
    default:
      return SenseCode.IO_PROCESS_TERMINATED;
  }
}
