/**
 * A driver on the bench that has many commands in flight, for several targets: the SCRIPTS of the driver over the link, with ABORT TAG and
 * resets beside them.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Ccntl0, Dcntl, Dstat, Istat0, Reg, Scid, Sist0 } from "../../../src/remote/lsi53c895a/registers.ts";
import {
  Address,
  Block,
  BLOCK_SIZE,
  DONE,
  MAX_SEGMENTS,
  START_ENTRIES,
  START_ENTRY_SIZE,
  StartEntry,
  Variable,
} from "../../support/lsi_driver/layout.ts";
import { buildProgram, DONE_REGISTER } from "../../support/lsi_driver/scripts.ts";
import type { Bench } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** How many commands can be in flight: all targets together have so many tags. */
export const TAGS = 8;

/** Bytes of each tag's buffer. */
export const BUFFER_SIZE = 0x50000;

/** Where the SCRIPTS are that send an ABORT TAG message. */
const ABORT = 0x3800;

const IDENTIFY_DISCONNECT = 0xc0, SIMPLE_QUEUE_TAG = 0x20, ABORT_TAG = 0x0d;

/** A command to be queued. */
export interface QueuedCommand {
  readonly target: number;
  /** As {@linkcode TaskAttribute} has it. */
  readonly attribute: number;
  readonly cdb: readonly number[];
  readonly direction: "in" | "out" | "none";
  /** Bytes of the data phase. */
  readonly length: number;
  /** Bytes of a scatter/gather segment: at least a sixteenth of the length. */
  readonly segment: number;
}

/** See the module. */
export class QueueingDriver {
  readonly #bench: Bench;
  readonly #program = buildProgram(Address.SCRIPTS);
  readonly #view: DataView;
  /** What was queued and has not ended, by tag. */
  readonly inFlight = new Map<number, QueuedCommand>();
  #entry = 0;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#view = new DataView(bench.ram.buffer);
    this.#program.words.forEach((word, i) => this.#view.setUint32(Address.SCRIPTS + 4 * i, word, true));
    const abort = [
      S.load(Reg.SCRATCHA, 4, StartEntry.NEXT, { relative: true }),
      S.load(Reg.DSA, 4, StartEntry.BLOCK, { relative: true }),
      S.selectTable(Block.SELECT, this.#program.labels.start),
      S.store(Reg.SCRATCHA, 4, Address.VARIABLES + Variable.START),
      S.modify(Reg.SCNTL2, S.Alu.AND, 0x7f),
      S.moveTable(S.MESSAGE_OUT, Block.MESSAGES),
      S.clear(S.ACK | S.ATN),
      S.waitDisconnect(),
      S.jump(this.#program.labels.start),
    ];
    abort.flat().forEach((word, i) => this.#view.setUint32(ABORT + 4 * i, word, true));
    this.start();
  }

  /** Sets chip and start queue up, with nothing in flight. */
  start(): void {
    const { labels } = this.#program;
    const b = this.#bench;
    this.inFlight.clear();
    this.#entry = 0;
    for (let i = 0; i < START_ENTRIES; i++) {
      this.#putEntry(i, labels.idle, 0);
      const next = Address.START_QUEUE + ((i + 1) % START_ENTRIES) * START_ENTRY_SIZE;
      this.#view.setUint32(Address.START_QUEUE + i * START_ENTRY_SIZE + StartEntry.NEXT, next, true);
    }
    this.#view.setUint32(Address.VARIABLES + Variable.START, Address.START_QUEUE, true);
    this.#view.setUint32(Address.VARIABLES + Variable.BLOCKS, Address.BLOCKS, true);
    b.write8(Reg.SCID, Scid.RRE | 7);
    b.write8(Reg.DCNTL, Dcntl.COM);
    b.write8(Reg.DIEN, Dstat.IID | Dstat.SIR | Dstat.BF);
    b.write8(Reg.SIEN0, Sist0.MA | Sist0.UDC | Sist0.RST);
    b.write8(Reg.SIEN1, 0xff);
    b.write8(Reg.CCNTL0, Ccntl0.ENPMJ);
    b.write32(Reg.PMJAD1, labels.mismatch);
    b.write32(Reg.PMJAD2, labels.mismatch);
    b.write32(DONE_REGISTER, DONE);
    b.start(labels.start);
  }

  /** A tag that no command has. */
  freeTag(): number | undefined {
    return Array.from({ length: TAGS }, (_, tag) => tag).find((tag) => !this.inFlight.has(tag));
  }

  buffer(tag: number): Uint8Array {
    const at = Address.BUFFERS + tag * BUFFER_SIZE;
    return this.#bench.ram.subarray(at, at + BUFFER_SIZE);
  }

  /** Queues a command and tells the chip. */
  queue(tag: number, command: QueuedCommand): void {
    const block = Address.BLOCKS + tag * BLOCK_SIZE;
    this.inFlight.set(tag, command);
    this.#bench.ram.set(command.cdb, block + Block.CDB_BYTES);
    this.#putMessages(block, command.target, [IDENTIFY_DISCONNECT, SIMPLE_QUEUE_TAG | command.attribute, tag]);
    this.#putPair(block + Block.CDB, command.cdb.length, block + Block.CDB_BYTES);
    this.#putPair(block + Block.STATUS, 1, block + Block.STATUS_BYTE);
    this.#putPair(block + Block.NO_DATA, 1, block + Block.NO_DATA_BYTE);
    this.#view.setUint32(block + Block.RESUME, this.#putSegments(tag, command), true);
    this.#bench.ram[block + Block.DONE_BYTE] = 0;
    this.#append(this.#program.labels.select, block);
  }

  /** Sends ABORT TAG for a command, which is not in flight any more when the chip has come to it. */
  abort(tag: number): void {
    const { target } = this.inFlight.get(tag)!;
    const block = Address.BLOCKS + (TAGS + tag) * BLOCK_SIZE;
    this.#putMessages(block, target, [IDENTIFY_DISCONNECT, SIMPLE_QUEUE_TAG, tag, ABORT_TAG]);
    this.#append(ABORT, block);
  }

  /** SCSI bus reset: nothing is in flight any more. */
  resetBus(): void {
    this.#bench.write8(Reg.SCNTL1, 0x08);
    this.#bench.write8(Reg.SCNTL1, 0);
    assertEquals(this.#bench.read16(Reg.SIST0) & Sist0.RST, Sist0.RST);
    this.start();
  }

  /** Software reset of the chip. */
  resetChip(): void {
    this.#bench.write8(Reg.ISTAT0, Istat0.SRST);
    this.#bench.write8(Reg.ISTAT0, 0);
    this.start();
  }

  /** Takes the commands that have ended since the last call. */
  ended(): { tag: number; command: QueuedCommand; status: number }[] {
    const istat = this.#bench.read8(Reg.ISTAT0);
    assertEquals(istat & (Istat0.SIP | Istat0.DIP), 0, "the chip complains");
    if ((istat & Istat0.INTF) !== 0) this.#bench.write8(Reg.ISTAT0, (istat & Istat0.SIGP) | Istat0.INTF);
    const ended = [];
    for (const [tag, command] of this.inFlight) {
      const block = Address.BLOCKS + tag * BLOCK_SIZE;
      if (this.#bench.ram[block + Block.DONE_BYTE] !== DONE) continue;
      this.inFlight.delete(tag);
      ended.push({ tag, command, status: this.#bench.ram[block + Block.STATUS_BYTE] });
    }
    return ended;
  }

  #putPair(at: number, count: number, address: number): void {
    this.#view.setUint32(at, count, true);
    this.#view.setUint32(at + 4, address, true);
  }

  #putMessages(block: number, target: number, messages: readonly number[]): void {
    this.#bench.ram.set(messages, block + Block.MESSAGE_BYTES);
    this.#view.setUint32(block + Block.SELECT, target << 16, true);
    this.#putPair(block + Block.MESSAGES, messages.length, block + Block.MESSAGE_BYTES);
  }

  /** @returns where SCRIPTS begin the data phase. */
  #putSegments(tag: number, { direction, length, segment }: QueuedCommand): number {
    const { noData, dataInEnd, dataOutEnd } = this.#program.labels;
    if (direction === "none") return noData;
    const count = Math.ceil(length / segment);
    const table = Address.BLOCKS + tag * BLOCK_SIZE + Block.SEGMENTS + 8 * (MAX_SEGMENTS - count);
    const buffer = Address.BUFFERS + tag * BUFFER_SIZE;
    for (let i = 0; i < count; i++) {
      this.#putPair(table + 8 * i, Math.min(segment, length - i * segment), buffer + i * segment);
    }
    return (direction === "in" ? dataInEnd : dataOutEnd) - 8 * count;
  }

  #putEntry(index: number, action: number, block: number): void {
    const entry = Address.START_QUEUE + index * START_ENTRY_SIZE;
    this.#view.setUint32(entry + StartEntry.BLOCK, block, true);
    this.#view.setUint32(entry + StartEntry.ACTION, action, true);
  }

  #append(action: number, block: number): void {
    const entry = this.#entry;
    this.#entry = (entry + 1) % START_ENTRIES;
    this.#putEntry(this.#entry, this.#program.labels.idle, 0);
    this.#putEntry(entry, action, block);
    this.#bench.write8(Reg.ISTAT0, Istat0.SIGP);
  }
}
