/**
 * The chip as a PCI bus master: DMA to guest RAM, and the internal cycles that reach its own registers and SCRIPTS RAM.
 *
 * Drivers load SCRIPTS into the on-chip RAM and let them move data to and from operating registers by their PCI
 * addresses. Such accesses never leave the chip (manual, section 2.2.2), so they are served here and work without bus
 * mastering.
 *
 * @module
 */
import type { BarMapping } from "../../device/config_space.ts";
import type { Dma } from "../../device/guest_memory.ts";
import { SCRIPTS_RAM_SIZE } from "./chip_state.ts";
import { Reg } from "./registers.ts";

/** The registers with their side effects, one byte at a time; offsets are taken modulo 256. */
export interface RegisterPort {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

/** BAR indices. */
export const Bar = { IO_REGISTERS: 0, MEMORY_REGISTERS: 1, SCRIPTS_RAM: 2 } as const;

/** What {@linkcode BusMaster.dword} returns when nothing answered. */
export const REFUSED = -1;

/** Unmapped: no address is at or above it. */
const NOWHERE = Infinity;

/** Size of the memory BAR with the registers; the I/O BAR has {@linkcode Reg}.SIZE bytes. */
export const REGISTER_BAR_SIZE = 0x400;

/** Reads and writes by PCI address. Accesses that nothing answers do nothing and return `false`. */
export class BusMaster {
  readonly #dma: Dma;
  readonly #ram: Uint8Array;
  readonly #ramView: DataView;
  readonly #port: RegisterPort;
  readonly #four = new Uint8Array(4);
  readonly #fourView = new DataView(this.#four.buffer);
  readonly #eight = new Uint8Array(8);
  readonly #eightView = new DataView(this.#eight.buffer);
  #ramBase = NOWHERE;
  #registerBase = NOWHERE;
  #ioBase = NOWHERE;

  constructor(dma: Dma, ram: Uint8Array, port: RegisterPort) {
    this.#dma = dma;
    this.#ram = ram;
    this.#ramView = new DataView(ram.buffer, ram.byteOffset, ram.length);
    this.#port = port;
  }

  /** Where the BARs are now. */
  remap(mappings: readonly BarMapping[]): void {
    const base = (index: number) => mappings.find((bar) => bar.index === index)?.address ?? NOWHERE;
    this.#ramBase = base(Bar.SCRIPTS_RAM);
    this.#registerBase = base(Bar.MEMORY_REGISTERS);
    this.#ioBase = base(Bar.IO_REGISTERS);
  }

  /** Whether the I/O BAR answers, and whether the memory BAR does. */
  get mapped(): { io: boolean; memory: boolean } {
    return { io: this.#ioBase !== NOWHERE, memory: this.#registerBase !== NOWHERE };
  }

  /** The little-endian dword at `address`, unsigned, or {@linkcode REFUSED}. */
  dword(address: number): number {
    const offset = address - this.#ramBase;
    if (offset >= 0 && offset <= SCRIPTS_RAM_SIZE - 4) return this.#ramView.getUint32(offset, true);
    return this.read(address, this.#four) ? this.#fourView.getUint32(0, true) : REFUSED;
  }

  /** The two dwords that {@linkcode fetch} has read. */
  first = 0;
  second = 0;

  /** Fetches an instruction's first two dwords into {@linkcode first} and {@linkcode second}. */
  fetch(address: number): boolean {
    const offset = address - this.#ramBase;
    const inRam = offset >= 0 && offset <= SCRIPTS_RAM_SIZE - 8;
    if (!inRam && !this.read(address, this.#eight)) return false;
    const view = inRam ? this.#ramView : this.#eightView;
    const at = inRam ? offset : 0;
    this.first = view.getUint32(at, true);
    this.second = view.getUint32(at + 4, true);
    return true;
  }

  /** Copies `into.length` bytes from memory space. */
  read(address: number, into: Uint8Array): boolean {
    if (!this.#reachesOwn(address, into.length)) return this.#dma.read(address, into);
    return this.#split(address, into, (at, part) => this.#readOwn(at, part), (at, part) => this.#dma.read(at, part));
  }

  /** Copies all of `from` to memory space. */
  write(address: number, from: Uint8Array): boolean {
    if (!this.#reachesOwn(address, from.length)) return this.#dma.write(address, from);
    return this.#split(address, from, (at, part) => this.#writeOwn(at, part), (at, part) => this.#dma.write(at, part));
  }

  /** Copies from I/O space, where nothing but the chip's own BAR can be reached. */
  readIo(address: number, into: Uint8Array): boolean {
    const offset = address - this.#ioBase;
    if (!(offset >= 0 && offset + into.length <= Reg.SIZE)) return false;
    for (let i = 0; i < into.length; i++) into[i] = this.#port.read(offset + i);
    return true;
  }

  /** Copies to I/O space; see {@linkcode readIo}. */
  writeIo(address: number, from: Uint8Array): boolean {
    const offset = address - this.#ioBase;
    if (!(offset >= 0 && offset + from.length <= Reg.SIZE)) return false;
    for (let i = 0; i < from.length; i++) this.#port.write(offset + i, from[i]);
    return true;
  }

  #reachesOwn(address: number, length: number): boolean {
    const end = address + length;
    return (end > this.#ramBase && address < this.#ramBase + SCRIPTS_RAM_SIZE) ||
      (end > this.#registerBase && address < this.#registerBase + REGISTER_BAR_SIZE);
  }

  /** Cuts a transfer where an own BAR begins or ends, and hands on each part. */
  #split(
    address: number,
    buffer: Uint8Array,
    own: (address: number, part: Uint8Array) => void,
    other: (address: number, part: Uint8Array) => boolean,
  ): boolean {
    const edges = [this.#ramBase, this.#ramBase + SCRIPTS_RAM_SIZE, this.#registerBase];
    edges.push(this.#registerBase + REGISTER_BAR_SIZE);
    const last = address + buffer.length;
    for (let at = address; at < last;) {
      const end = edges.reduce((nearest, edge) => edge > at && edge < nearest ? edge : nearest, last);
      const part = buffer.subarray(at - address, end - address);
      if (this.#reachesOwn(at, 1)) own(at, part);
      else if (!other(at, part)) return false;
      at = end;
    }
    return true;
  }

  #readOwn(address: number, into: Uint8Array): void {
    const offset = address - this.#ramBase;
    if (offset >= 0 && offset < SCRIPTS_RAM_SIZE) {
      into.set(this.#ram.subarray(offset, offset + into.length));
      return;
    }
    for (let i = 0; i < into.length; i++) into[i] = this.#port.read(address - this.#registerBase + i);
  }

  #writeOwn(address: number, from: Uint8Array): void {
    const offset = address - this.#ramBase;
    if (offset >= 0 && offset < SCRIPTS_RAM_SIZE) {
      this.#ram.set(from, offset);
      return;
    }
    for (let i = 0; i < from.length; i++) this.#port.write(address - this.#registerBase + i, from[i]);
  }
}
