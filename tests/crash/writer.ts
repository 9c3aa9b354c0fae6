/**
 * A guest that does everything to its disk at once, writes down what it is told, and checks what it reads.
 *
 * @module
 */
import type { LsiDriver } from "../support/lsi_driver/lsi_driver.ts";
import {
  read10,
  senseError,
  synchronizeCache10,
  unmap,
  unmapList,
  write10,
  writeCacheEnabled,
} from "../support/lsi_driver/scsi_disk.ts";
import { type Change, describeValue, type Flush, type Journal } from "./journal.ts";
import { fillSector, readSector, SECTOR, ZERO } from "./sector.ts";

/** What a writer does. */
export interface WriterOptions {
  /** How many commands are in flight. */
  readonly depth: number;
  /** Whether it discards. */
  readonly discards: boolean;
  /** Numbers from 0 to 1. */
  readonly random: () => number;
}

/** A command in flight, and what to do when it ends. */
interface Operation {
  readonly what: string;
  readonly sector: number;
  readonly count: number;
  done(buffer: Uint8Array): void;
}

/** The largest command, in sectors. */
const LARGEST = 256;

/** See the module. */
export class Writer {
  readonly #driver: LsiDriver;
  readonly #journal: Journal;
  readonly #options: WriterOptions;
  readonly #writesThrough: boolean;
  readonly #operations = new Map<number, Operation>();
  /** Sectors that a command in flight touches. */
  readonly #busy = new Set<number>();

  constructor(driver: LsiDriver, journal: Journal, options: WriterOptions) {
    this.#driver = driver;
    this.#journal = journal;
    this.#options = options;
    this.#writesThrough = !writeCacheEnabled(driver);
  }

  /**
   * Writes, and leaves off with commands still in flight.
   *
   * @param until A moment on `performance.now()`.
   * @throws {LinkError} when the disk goes away, and any other error when it does something wrong.
   */
  run(until: number): void {
    for (let tag = 0; tag < this.#options.depth; tag++) this.#start(tag);
    this.#driver.kick();
    while (performance.now() < until) {
      const ended: number[] = [];
      this.#driver.serve((tag, status) => {
        const operation = this.#operations.get(tag)!;
        if (status !== 0) throw senseError(this.#driver, operation.what, status);
        ended.push(tag);
        this.#finish(tag, operation);
      });
      if (ended.length === 0) continue;
      for (const tag of ended) this.#start(tag);
      this.#driver.kick();
    }
  }

  #finish(tag: number, operation: Operation): void {
    this.#operations.delete(tag);
    for (let i = 0; i < operation.count; i++) this.#busy.delete(operation.sector + i);
    operation.done(this.#driver.buffer(tag));
  }

  #start(tag: number): void {
    const dice = this.#options.random();
    if (dice < 0.1) return this.#flush(tag);
    const [sector, count] = this.#freeRange();
    if (dice < 0.25) this.#read(tag, sector, count);
    else if (dice < 0.32 && this.#options.discards) this.#discard(tag, sector, count);
    else if (dice < 0.38) this.#writeZeroes(tag, sector, count);
    else this.#write(tag, sector, count, dice > 0.85);
  }

  /** A range that no command in flight touches; mostly short, and in some parts of the disk more often than in others. */
  #freeRange(): [sector: number, count: number] {
    const { random } = this.#options;
    const { sectors } = this.#journal;
    for (;;) {
      const count = Math.ceil(LARGEST ** random());
      const sector = Math.floor((sectors - count) * random() ** 2);
      let free = true;
      for (let i = sector; i < sector + count && free; i++) free = !this.#busy.has(i);
      if (free) return [sector, count];
    }
  }

  #queue(tag: number, cdb: Uint8Array, direction: "in" | "out" | "none", length: number, operation: Operation): void {
    for (let i = 0; i < operation.count; i++) this.#busy.add(operation.sector + i);
    this.#operations.set(tag, operation);
    this.#driver.queue(tag, cdb, direction, length);
  }

  #flush(tag: number): void {
    const flush: Flush = this.#journal.issueFlush();
    const done = () => this.#journal.acknowledgeFlush(flush);
    this.#queue(tag, synchronizeCache10(), "none", 0, { what: "SYNCHRONIZE CACHE", sector: 0, count: 0, done });
  }

  #read(tag: number, sector: number, count: number): void {
    const done = (buffer: Uint8Array) => this.#checkRead(buffer, sector, count);
    const what = `READ of ${count} at ${sector}`;
    this.#queue(tag, read10(sector, count), "in", count * SECTOR, { what, sector, count, done });
  }

  /** Nothing else touched the range meanwhile: it holds what was written last, or what a discard made of it. */
  #checkRead(buffer: Uint8Array, sector: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const value = readSector(buffer.subarray(i * SECTOR, (i + 1) * SECTOR), sector + i);
      const current = this.#journal.currentValues(sector + i);
      if (current.includes(value)) continue;
      const expected = current.map(describeValue).join(" or ");
      throw new Error(`Sector ${sector + i} reads as ${describeValue(value)}, not ${expected}`);
    }
  }

  #discard(tag: number, sector: number, count: number): void {
    const change = this.#journal.issue(sector, count, ZERO, true);
    this.#driver.buffer(tag).set(unmapList(sector, count));
    this.#queue(tag, unmap(), "out", 24, this.#operation("UNMAP", change, false));
  }

  #writeZeroes(tag: number, sector: number, count: number): void {
    const change = this.#journal.issue(sector, count, ZERO);
    this.#driver.buffer(tag).subarray(0, SECTOR).fill(0);
    const cdb = new DataView(new ArrayBuffer(10));
    cdb.setUint8(0, 0x41); // WRITE SAME (10)
    cdb.setUint8(1, this.#options.random() < 0.5 ? 0x08 : 0); // UNMAP
    cdb.setUint32(2, sector);
    cdb.setUint16(7, count);
    const operation = this.#operation("WRITE SAME", change, this.#writesThrough);
    this.#queue(tag, new Uint8Array(cdb.buffer), "out", SECTOR, operation);
  }

  #write(tag: number, sector: number, count: number, fua: boolean): void {
    const change = this.#journal.issue(sector, count, this.#journal.nextValue);
    const buffer = this.#driver.buffer(tag);
    for (let i = 0; i < count; i++) {
      fillSector(buffer.subarray(i * SECTOR, (i + 1) * SECTOR), sector + i, change.value);
    }
    const operation = this.#operation("WRITE", change, fua || this.#writesThrough);
    this.#queue(tag, write10(sector, count, { fua }), "out", count * SECTOR, operation);
  }

  #operation(name: string, change: Change, durable: boolean): Operation {
    const { sector, count } = change;
    const done = () => this.#journal.acknowledge(change, durable);
    return { what: `${name} of ${count} at ${sector}`, sector, count, done };
  }
}
