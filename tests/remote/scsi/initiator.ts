import { assert, assertEquals } from "@std/assert";
import type { ScsiInitiator, ScsiRequest, ScsiTarget, TaskAttributeCode } from "../../../src/remote/scsi/scsi.ts";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { ScsiDisk, type ScsiDiskOptions } from "../../../src/remote/scsi/disk.ts";
import { MemoryDevice, type MemoryDeviceOptions } from "./memory_device.ts";

/** A command as the initiator sees it. */
export interface Exchange {
  /** The status byte; `undefined` while the command is in progress. */
  status?: number;
  /** What came in. */
  data: Uint8Array;
  /** How many bytes of the data-out phase the target took. */
  taken: number;
  /** The size of each chunk. */
  chunks: number[];
  request?: ScsiRequest;
}

const NO_DATA = new Uint8Array(0);

/** A host adapter that checks the seam's rules as it goes. */
export class TestInitiator implements ScsiInitiator {
  /** Whether chunks are moved from within `dataReady`. */
  prompt = true;
  /** Chunks that wait for {@linkcode move}. */
  readonly waiting: ScsiRequest[] = [];

  constructor(readonly target: ScsiTarget) {}

  /** Starts a command. `out` is what the data-out phase takes from; beyond it come zeroes. */
  start(cdb: readonly number[], out: Uint8Array = NO_DATA, lun = 0, attribute?: TaskAttributeCode): Exchange {
    const exchange: Exchange & { out: Uint8Array } = { data: new Uint8Array(0), taken: 0, chunks: [], out };
    const request = this.target.start(this, lun, Uint8Array.from(cdb), exchange, attribute);
    assert(request.tag === exchange);
    exchange.request = request;
    return exchange;
  }

  dataReady(request: ScsiRequest): void {
    const exchange = request.tag as Exchange;
    assertEquals(exchange.status, undefined, "data after the command's end");
    assert(request.direction !== "none");
    assert(request.chunk.length > 0 && request.chunk.length <= 256 * 1024);
    assert(request.chunk.length <= request.remaining);
    this.waiting.push(request);
    if (this.prompt) this.move();
  }

  /** Moves the oldest waiting chunk. */
  move(): void {
    const request = this.waiting.shift();
    assert(request !== undefined, "no chunk is waiting");
    const { chunk, direction, tag } = request!;
    const exchange = tag as Exchange & { out: Uint8Array; room?: Uint8Array };
    exchange.chunks.push(chunk.length);
    if (direction === "in") {
      exchange.room ??= new Uint8Array(request!.remaining);
      exchange.room.set(chunk, exchange.data.length);
      exchange.data = exchange.room.subarray(0, exchange.data.length + chunk.length);
    } else {
      chunk.fill(0);
      chunk.set(exchange.out.subarray(exchange.taken, exchange.taken + chunk.length));
      exchange.taken += chunk.length;
    }
    request!.resume();
  }

  complete(request: ScsiRequest, status: number): void {
    const exchange = request.tag as Exchange;
    assertEquals(exchange.status, undefined, "completed twice");
    exchange.status = status;
  }
}

/** A disk on a bus, with an initiator that has heard of the reset. */
export interface Rig {
  readonly drive: MemoryDevice;
  readonly disk: ScsiDisk;
  readonly bus: ParallelScsiBus;
  readonly initiator: TestInitiator;
  /** Runs a command to its end. */
  run(cdb: readonly number[], out?: Uint8Array, lun?: number): Exchange;
  /** Runs a command that has to end with GOOD; what came in. */
  good(cdb: readonly number[], out?: Uint8Array): Uint8Array;
  /** Runs a command that has to end with CHECK CONDITION; key, ASC and ASCQ in hexadecimal. */
  sense(cdb: readonly number[], out?: Uint8Array): string;
  /** Fetches sense data: key, ASC and ASCQ in hexadecimal. */
  requestSense(lun?: number): string;
}

/** What a {@linkcode rig} is made of. */
export interface RigOptions extends MemoryDeviceOptions {
  /** Image size in bytes. @default {1 MiB} */
  readonly size?: number;
  readonly disk?: ScsiDiskOptions;
}

export const REQUEST_SENSE = [0x03, 0, 0, 0, 252, 0];
export const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];

/** A disk at id 0, LUN 0. */
export function rig(options: RigOptions = {}): Rig {
  const drive = new MemoryDevice(options.size ?? 1024 * 1024, options);
  const disk = new ScsiDisk(drive, options.disk);
  const bus = new ParallelScsiBus();
  bus.attach(0, 0, disk);
  const initiator = new TestInitiator(bus.target(0)!);

  function run(cdb: readonly number[], out?: Uint8Array, lun?: number): Exchange {
    const exchange = initiator.start(cdb, out, lun);
    drive.settle();
    assert(exchange.status !== undefined, "the command has not ended");
    return exchange;
  }

  function requestSense(lun = 0): string {
    const exchange = run(REQUEST_SENSE, undefined, lun);
    assertEquals(exchange.status, 0);
    return senseCode(exchange.data);
  }

  run(TEST_UNIT_READY); // takes the unit attention of the power-on
  requestSense();
  return {
    drive,
    disk,
    bus,
    initiator,
    run,
    requestSense,
    good(cdb, out) {
      const exchange = run(cdb, out);
      const failure = exchange.status === 0 ? "GOOD" : requestSense();
      assertEquals(failure, "GOOD");
      return exchange.data;
    },
    sense(cdb, out) {
      assertEquals(run(cdb, out).status, 2);
      return requestSense();
    },
  };
}

/** Sense key, ASC and ASCQ of fixed format sense data: `5/24/00`. */
export function senseCode(data: Uint8Array): string {
  assertEquals(data[0] & 0x7f, 0x70);
  return [(data[2] & 0xf).toString(16), hex(data[12]), hex(data[13])].join("/");
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Sense codes (SPC-4, annex F), as {@linkcode Rig.sense} has them. */
export const Sense = {
  NONE: "0/00/00",
  NOT_READY_START_REQUIRED: "2/04/02",
  NO_MEDIUM: "2/3a/00",
  WRITE_ERROR: "3/0c/00",
  READ_ERROR: "3/11/00",
  INTERNAL_FAILURE: "4/44/00",
  LIST_LENGTH: "5/1a/00",
  INVALID_OPCODE: "5/20/00",
  LBA_OUT_OF_RANGE: "5/21/00",
  INVALID_CDB_FIELD: "5/24/00",
  LUN_NOT_SUPPORTED: "5/25/00",
  INVALID_PARAMETER: "5/26/00",
  SAVING_NOT_SUPPORTED: "5/39/00",
  RESET: "6/29/00",
  REPORTED_LUNS_CHANGED: "6/3f/0e",
  WRITE_PROTECTED: "7/27/00",
  SPACE_ALLOCATION_FAILED: "7/27/07",
  IO_TERMINATED: "b/00/06",
  MISCOMPARE: "e/1d/00",
} as const;

/** Big-endian bytes of a number. */
export function be(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * (bytes - 1 - i))) % 256);
}

/** The four CDB forms of a medium access command, by size; `flags` is byte 1 (not in the 6-byte form). */
export const mediumCdb = {
  6: (op: number, lba: number, blocks: number) => [op, ...be(lba, 3), blocks & 0xff, 0],
  10: (op: number, lba: number, blocks: number, flags = 0) => [op, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
  12: (op: number, lba: number, blocks: number, flags = 0) => [op, flags, ...be(lba, 4), ...be(blocks, 4), 0, 0],
  16: (op: number, lba: number, blocks: number, flags = 0) => [op, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
};

/** Bytes that differ from block to block. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 9) * 13 + seed) & 0xff);
}
