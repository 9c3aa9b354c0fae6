/**
 * The seam between SCSI host adapters (initiators) and logical units (targets).
 *
 * An adapter selects a target, passes it a CDB, and moves the data phase in chunks at its own pace; the unit decides when data
 * are there and how the command ends. Either side may be slow: a unit calls back at once, from within the call, or later
 * from the device loop.
 *
 * The life of a request: `start` → (`dataReady` → adapter moves the chunk → `resume`)* → `complete`. After `complete`, or
 * after `cancel` returns, neither side calls the other about it again.
 *
 * The end of one request may let another go on (a failure waits until the sense data of an earlier one are fetched): a unit
 * may call back about any of its requests from within a call about one of them.
 *
 * @module
 */

/** Status bytes (SAM-5, section 5.3). */
export const ScsiStatus = {
  GOOD: 0x00,
  CHECK_CONDITION: 0x02,
  BUSY: 0x08,
  RESERVATION_CONFLICT: 0x18,
  TASK_SET_FULL: 0x28,
} as const;

/** In which order a unit executes its commands (SAM-5, chapter 8; the queue tag messages of SPI-3, section 16.3). */
export const TaskAttribute = {
  /** In any order among its like. */
  SIMPLE: 0,
  /** At once, and before all that have not begun. */
  HEAD_OF_QUEUE: 1,
  /** After all that came before it, and before all that come after it. */
  ORDERED: 2,
} as const;

/** One of {@linkcode TaskAttribute}. */
export type TaskAttributeCode = typeof TaskAttribute[keyof typeof TaskAttribute];

/** Which way the data phase goes, as the initiator sees it. */
export type DataDirection = "none" | "in" | "out";

/** What an adapter lets a unit call. */
export interface ScsiInitiator {
  /**
   * A chunk is ready. `in`: `request.chunk` holds the next bytes for the initiator. `out`: `request.chunk` is room for the next
   * bytes; the adapter fills all of it. Never called again before {@linkcode ScsiRequest.resume}.
   */
  dataReady(request: ScsiRequest): void;
  /** The command has ended with a {@linkcode ScsiStatus}; there is no more data. */
  complete(request: ScsiRequest, status: number): void;
}

/** A command in progress. */
export interface ScsiRequest {
  /** What the adapter passed to `start`: its handle on the command (queue tag and so on). */
  readonly tag: unknown;
  /** Known before the first {@linkcode ScsiInitiator.dataReady}; "none" until then. */
  readonly direction: DataDirection;
  /** Bytes of the data phase still to move, this chunk included; an upper limit until the command ends. */
  readonly remaining: number;
  /** The current chunk; empty between `resume` and `dataReady`. At most 256 KiB. */
  readonly chunk: Uint8Array;
  /** The adapter has moved the whole chunk; the unit goes on. */
  resume(): void;
  /**
   * Drops the command (abort, bus reset). Data already accepted may or may not have reached the medium. What of it is on its way there
   * gets there before any later command begins that uses the medium.
   */
  cancel(): void;
}

/** One target on the bus: an id with its logical units. */
export interface ScsiTarget {
  /**
   * Starts a command on logical unit `lun` of this target, a unit that does not exist included (INQUIRY, REQUEST SENSE and REPORT
   * LUNS answer for it; others end with LOGICAL UNIT NOT SUPPORTED).
   *
   * @param cdb The command descriptor block as the initiator sent it, of any length from 1 to 16; the unit copies what it keeps.
   * @param tag The adapter's handle, kept in {@linkcode ScsiRequest.tag}.
   * @param attribute @default {SIMPLE, which untagged commands are as well}
   */
  start(
    initiator: ScsiInitiator,
    lun: number,
    cdb: Uint8Array,
    tag: unknown,
    attribute?: TaskAttributeCode,
  ): ScsiRequest;
  /** Bus or target reset: requests are dropped, mode pages and reservations go back, a unit attention is pending. */
  reset(): void;
}

/** A SCSI bus as an adapter sees it. */
export interface ScsiBus {
  /** The target with this id, or `undefined` where selection times out. */
  target(id: number): ScsiTarget | undefined;
}

/**
 * Length of a CDB by its operation code's group (SPC-4, section 4.2.5.1): 6, 10, 16 or 12 bytes; `undefined` for a reserved or
 * vendor-specific group.
 */
export function cdbLength(operationCode: number): 6 | 10 | 12 | 16 | undefined {
  return ([6, 10, 10, undefined, 16, 12, undefined, undefined] as const)[(operationCode >> 5) & 7];
}
