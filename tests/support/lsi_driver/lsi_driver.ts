/**
 * A driver for the LSI53C895A and the disk behind it, without a guest: what a guest's driver does with registers and memory, this does over
 * the link. It drives splitvm's device process and stock QEMU's alike, with the same SCRIPTS and the same messages.
 *
 * A batch of commands costs three messages (SIGP to start them; a look at ISTAT0 and the end of INTF when the interrupt comes), as a driver in
 * a guest has it.
 *
 * @module
 */
import { Dstat, Istat0, Reg, Scid, Sist0 } from "../../../src/remote/lsi53c895a/registers.ts";
import { Ccntl0, Dcntl } from "../../../src/remote/lsi53c895a/registers.ts";
import type { Board } from "./board.ts";
import {
  Address,
  Block,
  BLOCK_SIZE,
  DONE,
  MAX_DEPTH,
  MAX_SEGMENTS,
  START_ENTRIES,
  START_ENTRY_SIZE,
  StartEntry,
  Variable,
} from "./layout.ts";
import { buildProgram, DONE_REGISTER, type Labels } from "./scripts.ts";

/** Which way data go, as the target sees it. */
export type Direction = "in" | "out" | "none";

/** How the driver is set up. */
export interface LsiDriverOptions {
  /** Bytes of each tag's buffer. @default {1 MiB} */
  readonly bufferSize?: number;
  /** Bytes of a scatter/gather segment; a command has at most 16 of them. @default {64 KiB} */
  readonly segmentSize?: number;
  /** The target's id. @default {0} */
  readonly target?: number;
}

/** The messages before a CDB: IDENTIFY with disconnect privilege, SIMPLE QUEUE TAG. */
const IDENTIFY = 0xc0;
const SIMPLE_QUEUE_TAG = 0x20;

/** The adapter's own SCSI id. */
const ADAPTER_ID = 7;

/** DSTAT's conditions that stop SCRIPTS. */
const DMA_INTERRUPTS = Dstat.IID | Dstat.SIR | Dstat.SSI | Dstat.ABRT | Dstat.BF | Dstat.MDPE;

/** Guest RAM that the driver needs. */
export function ramNeeded({ bufferSize = 0x100000 }: LsiDriverOptions = {}): number {
  return Address.BUFFERS + MAX_DEPTH * bufferSize;
}

/** See the module. */
export class LsiDriver {
  readonly bufferSize: number;
  readonly #board: Board;
  readonly #segmentSize: number;
  readonly #target: number;
  readonly #labels: Labels;
  readonly #inFlight = new Set<number>();
  #nextEntry = 0;

  /** Resets the chip and starts its SCRIPTS. The board has {@linkcode ramNeeded} bytes of RAM, and the device enabled. */
  constructor(board: Board, { bufferSize = 0x100000, segmentSize = 0x10000, target = 0 }: LsiDriverOptions = {}) {
    if (bufferSize > MAX_SEGMENTS * segmentSize) throw new RangeError(`${bufferSize} bytes need more segments`);
    this.#board = board;
    this.bufferSize = bufferSize;
    this.#segmentSize = segmentSize;
    this.#target = target;
    const { words, labels } = buildProgram(Address.SCRIPTS);
    this.#labels = labels;
    words.forEach((word, i) => board.view.setUint32(Address.SCRIPTS + 4 * i, word, true));
    this.#layOutQueue();
    for (let tag = 0; tag < MAX_DEPTH; tag++) this.#layOutBlock(tag);
    this.#startChip();
  }

  /** How many commands are in flight. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** A tag's data buffer, in guest RAM. */
  buffer(tag: number): Uint8Array<ArrayBuffer> {
    const start = Address.BUFFERS + tag * this.bufferSize;
    return this.#board.ram.subarray(start, start + this.bufferSize);
  }

  /**
   * Puts a command into the start queue, where the chip finds it after the next {@linkcode kick}.
   *
   * @param tag 0 to 63, and not in flight.
   * @param length Bytes of the data phase, which begins at the start of the tag's buffer.
   */
  queue(tag: number, cdb: Uint8Array, direction: Direction, length: number): void {
    if (this.#inFlight.has(tag)) throw new RangeError(`tag ${tag} is in flight already`);
    if (length > this.bufferSize) throw new RangeError(`${length} bytes do not fit a buffer of ${this.bufferSize}`);
    const { view, ram } = this.#board;
    const block = Address.BLOCKS + tag * BLOCK_SIZE;
    ram.set(cdb, block + Block.CDB_BYTES);
    view.setUint32(block + Block.CDB, cdb.length, true);
    view.setUint32(block + Block.RESUME, this.#layOutSegments(tag, direction, length), true);
    ram[block + Block.DONE_BYTE] = 0;
    this.#inFlight.add(tag);
    this.#append(block);
  }

  /** Sets SIGP: the chip looks at its start queue. */
  kick(): void {
    this.#board.write8(Reg.ISTAT0, Istat0.SIGP);
  }

  /**
   * Waits for an interrupt and serves it.
   *
   * @param completed Gets the tags of the commands that have ended meanwhile, if any. It may queue new ones.
   * @throws {Error} when the chip complains.
   */
  serve(completed: (tag: number, status: number) => void): void {
    if (!this.#board.waitForInterrupt()) throw new Error(`No interrupt came; ${this.#describe()}`);
    const istat = this.#board.read8(Reg.ISTAT0);
    if ((istat & Istat0.INTF) !== 0) this.#board.write8(Reg.ISTAT0, (istat & Istat0.SIGP) | Istat0.INTF);
    if ((istat & (Istat0.SIP | Istat0.DIP)) !== 0) this.#serveError();
    this.#board.endInterrupt();
    for (const tag of this.#inFlight) {
      const block = Address.BLOCKS + tag * BLOCK_SIZE;
      if (this.#board.ram[block + Block.DONE_BYTE] !== DONE) continue;
      this.#inFlight.delete(tag);
      completed(tag, this.#board.ram[block + Block.STATUS_BYTE]);
    }
  }

  /** Executes one command alone. @returns its status. */
  execute(cdb: Uint8Array, direction: Direction = "none", length = 0): number {
    if (this.#inFlight.size > 0) throw new Error("Other commands are in flight");
    this.queue(0, cdb, direction, length);
    this.kick();
    let result: number | undefined;
    while (result === undefined) this.serve((_, status) => result = status);
    return result;
  }

  #layOutQueue(): void {
    const { view } = this.#board;
    for (let i = 0; i < START_ENTRIES; i++) {
      const entry = Address.START_QUEUE + i * START_ENTRY_SIZE;
      const next = Address.START_QUEUE + ((i + 1) % START_ENTRIES) * START_ENTRY_SIZE;
      view.setUint32(entry + StartEntry.ACTION, this.#labels.idle, true);
      view.setUint32(entry + StartEntry.NEXT, next, true);
    }
    view.setUint32(Address.VARIABLES + Variable.START, Address.START_QUEUE, true);
    view.setUint32(Address.VARIABLES + Variable.BLOCKS, Address.BLOCKS, true);
  }

  /** What does not change from command to command. */
  #layOutBlock(tag: number): void {
    const { view, ram } = this.#board;
    const block = Address.BLOCKS + tag * BLOCK_SIZE;
    const pair = (at: number, count: number, address: number) => {
      view.setUint32(block + at, count, true);
      view.setUint32(block + at + 4, address, true);
    };
    ram.set([IDENTIFY, SIMPLE_QUEUE_TAG, tag], block + Block.MESSAGE_BYTES);
    view.setUint32(block + Block.SELECT, this.#target << 16, true);
    pair(Block.MESSAGES, 3, block + Block.MESSAGE_BYTES);
    pair(Block.CDB, 0, block + Block.CDB_BYTES);
    pair(Block.STATUS, 1, block + Block.STATUS_BYTE);
    pair(Block.NO_DATA, 1, block + Block.NO_DATA_BYTE);
  }

  /** @returns where SCRIPTS begin the data phase. */
  #layOutSegments(tag: number, direction: Direction, length: number): number {
    if (direction === "none" || length === 0) return this.#labels.noData;
    const { view } = this.#board;
    const count = Math.ceil(length / this.#segmentSize);
    const table = Address.BLOCKS + tag * BLOCK_SIZE + Block.SEGMENTS + 8 * (MAX_SEGMENTS - count);
    const buffer = Address.BUFFERS + tag * this.bufferSize;
    for (let i = 0; i < count; i++) {
      const offset = i * this.#segmentSize;
      view.setUint32(table + 8 * i, Math.min(this.#segmentSize, length - offset), true);
      view.setUint32(table + 8 * i + 4, buffer + offset, true);
    }
    return (direction === "in" ? this.#labels.dataInEnd : this.#labels.dataOutEnd) - 8 * count;
  }

  /** The idle entry becomes the command's last of all: until then the chip stops there. */
  #append(block: number): void {
    const { view } = this.#board;
    const entry = Address.START_QUEUE + this.#nextEntry * START_ENTRY_SIZE;
    this.#nextEntry = (this.#nextEntry + 1) % START_ENTRIES;
    const next = Address.START_QUEUE + this.#nextEntry * START_ENTRY_SIZE;
    view.setUint32(next + StartEntry.ACTION, this.#labels.idle, true);
    view.setUint32(entry + StartEntry.BLOCK, block, true);
    view.setUint32(entry + StartEntry.ACTION, this.#labels.select, true);
  }

  #startChip(): void {
    const board = this.#board;
    board.write8(Reg.ISTAT0, Istat0.SRST);
    board.write8(Reg.ISTAT0, 0);
    board.write8(Reg.SCID, Scid.RRE | ADAPTER_ID);
    board.write8(Reg.DCNTL, Dcntl.COM);
    board.write8(Reg.DIEN, DMA_INTERRUPTS & 0x7f);
    board.write8(Reg.SIEN0, Sist0.MA | Sist0.SGE | Sist0.UDC | Sist0.RST | Sist0.PAR);
    board.write8(Reg.SIEN1, 0xff);
    board.write8(Reg.CCNTL0, Ccntl0.ENPMJ);
    board.write32(Reg.PMJAD1, this.#labels.mismatch);
    board.write32(Reg.PMJAD2, this.#labels.mismatch);
    board.write32(DONE_REGISTER, DONE);
    board.write32(Reg.DSP, this.#labels.start);
  }

  #serveError(): never {
    throw new Error(`The chip stopped; ${this.#describe()}`);
  }

  /** The registers that say what happened. Reading them clears them. */
  #describe(): string {
    const hex = (register: number, size: number) => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#board.read8(register + i);
      return value.toString(16);
    };
    const registers = { DSTAT: 1, SIST0: 1, SIST1: 1, DSP: 4, DSPS: 4, DSA: 4, DBC: 4, SBCL: 1 } as const;
    const values = Object.entries(registers).map(([name, size]) =>
      `${name}=${hex(Reg[name as keyof typeof Reg], size)}`
    );
    return `${this.#inFlight.size} commands in flight; ${values.join(" ")}`;
  }
}
