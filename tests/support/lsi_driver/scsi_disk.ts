/**
 * A disk as the driver's user sees it: CDBs, and the sense data of those that fail.
 *
 * Source: SBC-3 (INCITS 514), chapter 5; SPC-4 (INCITS 513), chapter 6.
 *
 * @module
 */
import type { Direction, LsiDriver } from "./lsi_driver.ts";

/** Bytes in a logical block. */
export const SECTOR = 512;

/** What FUA is in byte 1 of READ (10) and WRITE (10). */
const FUA = 0x08;

const GOOD = 0;

function cdb10(operation: number, flags: number, lba: number, blocks: number): Uint8Array<ArrayBuffer> {
  const cdb = new DataView(new ArrayBuffer(10));
  cdb.setUint8(0, operation);
  cdb.setUint8(1, flags);
  cdb.setUint32(2, lba);
  cdb.setUint16(7, blocks);
  return new Uint8Array(cdb.buffer);
}

/** READ (10). */
export function read10(lba: number, blocks: number): Uint8Array<ArrayBuffer> {
  return cdb10(0x28, 0, lba, blocks);
}

/** WRITE (10). */
export function write10(lba: number, blocks: number, { fua = false } = {}): Uint8Array<ArrayBuffer> {
  return cdb10(0x2a, fua ? FUA : 0, lba, blocks);
}

/** SYNCHRONIZE CACHE (10) of the whole disk. */
export function synchronizeCache10(): Uint8Array<ArrayBuffer> {
  return cdb10(0x35, 0, 0, 0);
}

/** UNMAP of one range. Its parameter list is {@linkcode unmapList}. */
export function unmap(): Uint8Array<ArrayBuffer> {
  return cdb10(0x42, 0, 0, 24);
}

/** The parameter list of {@linkcode unmap}. */
export function unmapList(lba: number, blocks: number): Uint8Array<ArrayBuffer> {
  const list = new DataView(new ArrayBuffer(24));
  list.setUint16(0, 22);
  list.setUint16(2, 16);
  list.setUint32(12, lba);
  list.setUint32(16, blocks);
  return new Uint8Array(list.buffer);
}

/** How a command failed. */
export class SenseError extends Error {
  override readonly name = "SenseError";

  constructor(
    what: string,
    readonly status: number,
    readonly key: number,
    readonly asc: number,
    readonly ascq: number,
  ) {
    const hex = (value: number) => value.toString(16).padStart(2, "0");
    super(`${what} ended with status ${hex(status)}, sense ${hex(key)}/${hex(asc)}/${hex(ascq)}`);
  }
}

/** Fetches the sense data of the command that failed last, alone on the bus. */
export function senseError(driver: LsiDriver, what: string, status: number): SenseError {
  driver.execute(Uint8Array.of(0x03, 0, 0, 0, 18, 0), "in", 18);
  const sense = driver.buffer(0);
  return new SenseError(what, status, sense[2] & 0x0f, sense[12], sense[13]);
}

/** Executes a command alone. @throws {SenseError} when it fails. */
export function execute(driver: LsiDriver, cdb: Uint8Array, direction: Direction = "none", length = 0): void {
  const status = driver.execute(cdb, direction, length);
  if (status !== GOOD) throw senseError(driver, `command ${cdb[0].toString(16)}`, status);
}

/** Takes the unit attentions of a disk that has just been powered on. */
export function makeReady(driver: LsiDriver): void {
  for (let attempt = 0; attempt < 4; attempt++) {
    const status = driver.execute(new Uint8Array(6));
    if (status === GOOD) return;
    senseError(driver, "TEST UNIT READY", status);
  }
  throw new Error("The disk does not become ready");
}

/** How many logical blocks the disk has (READ CAPACITY (10)). */
export function capacity(driver: LsiDriver): number {
  execute(driver, cdb10(0x25, 0, 0, 0), "in", 8);
  const { buffer, byteOffset } = driver.buffer(0);
  return new DataView(buffer, byteOffset).getUint32(0) + 1;
}

/** Whether the disk has a volatile write cache that is on (caching mode page, WCE). */
export function writeCacheEnabled(driver: LsiDriver): boolean {
  execute(driver, Uint8Array.of(0x1a, 0x08, 0x08, 0, 64, 0), "in", 64);
  const page = driver.buffer(0);
  return (page[4 + page[3] + 2] & 0x04) !== 0;
}
