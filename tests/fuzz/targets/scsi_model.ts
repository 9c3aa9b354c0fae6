/**
 * What a SCSI disk's commands may come to, by the standards and not by the program: how much data there is, what sense
 * data looks like, and what the sectors hold.
 *
 * @module
 */
import { OperationCode } from "../../../src/remote/scsi/cdb.ts";
import type { Exchange } from "../../remote/scsi/initiator.ts";
import { type MemoryDevice, same } from "../../remote/scsi/memory_device.ts";
import { invariant } from "../engine/target.ts";

const GOOD = 0;
const CHECK_CONDITION = 2;

/** Fixed format sense data is that long where there is room for it (SPC-4, section 4.5.3). */
const FIXED_SENSE_SIZE = 18;

type Field = readonly [at: number, width: number];

/** Where the allocation length is (SPC-4, section 4.2.5.6; chapter 6). */
const ALLOCATION_LENGTHS: Readonly<Record<number, Field>> = {
  [OperationCode.REQUEST_SENSE]: [4, 1],
  [OperationCode.INQUIRY]: [3, 2],
  [OperationCode.MODE_SENSE_6]: [4, 1],
  [OperationCode.MODE_SENSE_10]: [7, 2],
  [OperationCode.SERVICE_ACTION_IN_16]: [10, 4],
  [OperationCode.REPORT_LUNS]: [6, 4],
};

interface Transfer {
  readonly address: Field;
  readonly blocks: Field;
}

/** Where plain reads and writes have what is to be transferred (SBC-3, chapter 5). */
const TRANSFER_6: Transfer = { address: [1, 3], blocks: [4, 1] };
const TRANSFER_10: Transfer = { address: [2, 4], blocks: [7, 2] };
const TRANSFER_12: Transfer = { address: [2, 4], blocks: [6, 4] };
const TRANSFER_16: Transfer = { address: [2, 8], blocks: [10, 4] };
const READS: Readonly<Record<number, Transfer>> = {
  [OperationCode.READ_6]: TRANSFER_6,
  [OperationCode.READ_10]: TRANSFER_10,
  [OperationCode.READ_12]: TRANSFER_12,
  [OperationCode.READ_16]: TRANSFER_16,
};
const WRITES: Readonly<Record<number, Transfer>> = {
  [OperationCode.WRITE_6]: TRANSFER_6,
  [OperationCode.WRITE_10]: TRANSFER_10,
  [OperationCode.WRITE_12]: TRANSFER_12,
  [OperationCode.WRITE_16]: TRANSFER_16,
};

/** Other commands that change sectors: what they write is not modelled. */
const CHANGES: ReadonlySet<number> = new Set([
  OperationCode.FORMAT_UNIT,
  OperationCode.WRITE_AND_VERIFY_10,
  OperationCode.WRITE_AND_VERIFY_12,
  OperationCode.WRITE_AND_VERIFY_16,
  OperationCode.WRITE_SAME_10,
  OperationCode.WRITE_SAME_16,
  OperationCode.UNMAP,
]);

function field(cdb: Uint8Array, [at, width]: Field): number {
  let value = 0;
  for (let i = at; i < at + width; i++) value = value * 0x100 + (cdb[i] ?? 0);
  return value;
}

/** The bytes of the disk that a plain read or write is about. */
function extentOf(cdb: Uint8Array, { address, blocks }: Transfer, blockSize: number): { start: number; end: number } {
  const six = address === TRANSFER_6.address;
  const first = six ? field(cdb, address) & 0x1fffff : field(cdb, address);
  const count = six ? field(cdb, blocks) || 256 : field(cdb, blocks);
  return { start: first * blockSize, end: (first + count) * blockSize };
}

/** Makes sure that a command had no more data than it may, and, if it was a read that has ended well, all of it. */
export function checkAmount({ status, data }: Exchange, cdb: Uint8Array, blockSize: number): void {
  const name = `command 0x${cdb[0].toString(16)} with ${data.length} bytes`;
  const allocation = ALLOCATION_LENGTHS[cdb[0]];
  if (allocation !== undefined) invariant(data.length <= field(cdb, allocation), `${name}: more than were allocated`);
  if (READS[cdb[0]] === undefined) return;
  const { start, end } = extentOf(cdb, READS[cdb[0]], blockSize);
  invariant(data.length <= end - start, `${name}: more than were to be read`);
  if (status === GOOD) invariant(data.length === end - start, `${name}: fewer than were to be read`);
}

/**
 * Makes sure that sense data is whole.
 *
 * @param cdb Of the REQUEST SENSE that had it.
 * @param expected Whether there has to be a sense key: after CHECK CONDITION.
 */
export function checkSense({ status, data }: Exchange, cdb: Uint8Array, expected: boolean): void {
  if (status !== GOOD || field(cdb, [4, 1]) < FIXED_SENSE_SIZE || (cdb[1] & 1) !== 0) return;
  invariant(data.length >= FIXED_SENSE_SIZE, `${data.length} bytes of sense data`);
  const responseCode = data[0] & 0x7f;
  invariant(responseCode === 0x70 || responseCode === 0x71, `sense data with the response code ${responseCode}`);
  invariant(data[7] + 8 === data.length, "sense data with a wrong length");
  if (expected) invariant((data[2] & 0x0f) !== 0, "no sense key after CHECK CONDITION");
}

/** What the sectors hold, of a disk that carries out one command after the other. */
export class SectorModel {
  readonly #drive: MemoryDevice;
  readonly #sectors: Uint8Array;
  readonly #blockSize: number;

  /** Requests of the image that have been looked at. */
  #seen = 0;

  constructor(drive: MemoryDevice, blockSize: number) {
    this.#drive = drive;
    this.#sectors = drive.bytes.slice();
    this.#blockSize = blockSize;
  }

  /** Looks at a command that the disk has just carried out. @param out What the initiator had to send. */
  check({ status, data }: Exchange, cdb: Uint8Array, out: Uint8Array): void {
    const name = `command 0x${cdb[0].toString(16)}`;
    const write = WRITES[cdb[0]];
    if (CHANGES.has(cdb[0]) || write !== undefined && status === CHECK_CONDITION) {
      this.#sectors.set(this.#drive.bytes); // any part of it may have been done
      return;
    }
    if (write !== undefined && status === GOOD) {
      const { start, end } = extentOf(cdb, write, this.#blockSize);
      invariant(end <= this.#sectors.length, `${name} has written behind the end`);
      this.#sectors.fill(0, start, end);
      this.#sectors.set(out.subarray(0, end - start), start);
    }
    const held = !this.#changed() || same(this.#drive.bytes, this.#sectors);
    invariant(held, `after ${name} the disk holds what was not written`);
    if (READS[cdb[0]] === undefined || status !== GOOD) return;
    const { start, end } = extentOf(cdb, READS[cdb[0]], this.#blockSize);
    invariant(same(data, this.#sectors.subarray(start, end)), `${name} has read what was not written`);
  }

  /** Whether the image has had a request that changes it: comparing all of it takes longer than most commands. */
  #changed(): boolean {
    const requests = this.#drive.trace.slice(this.#seen);
    this.#seen = this.#drive.trace.length;
    return requests.some((request) => !request.startsWith("read") && request !== "flush");
  }
}
