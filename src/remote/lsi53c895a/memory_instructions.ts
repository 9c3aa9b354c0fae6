/**
 * Memory move, load and store.
 *
 * Source: manual, sections 5.7 "Memory Move Instructions" and 5.8 "Load and Store Instructions". The "no flush" bits
 * mean nothing here: there is no prefetch to flush.
 *
 * @module
 */
import { REFUSED } from "./bus_master.ts";
import { Wait } from "./chip_state.ts";
import { Dmode, Dstat, Reg } from "./registers.ts";
import { longAddress, type ScriptsContext, signed24 } from "./scripts_context.ts";

/** Bits of the first dword. */
const Op = {
  LOAD_OR_STORE: 0x20000000,
  DSA_RELATIVE: 0x10000000,
  LOAD: 0x01000000,
  /** Of a memory move; set, they make an illegal instruction. */
  MOVE_RESERVED: 0x1e000000,
} as const;

/** Most bytes that a memory move copies at a time. */
const PIECE = 0x10000;

/** Memory move, load and store. */
export class MemoryInstructions {
  readonly #context: ScriptsContext;
  /** Made on the first long move. */
  #buffer = new Uint8Array(256);
  readonly #dword = new Uint8Array(4);

  constructor(context: ScriptsContext) {
    this.#context = context;
  }

  /** Begins the instruction whose first two dwords are given; DSP is past them. */
  begin(first: number, second: number): void {
    if ((first & Op.LOAD_OR_STORE) !== 0) return this.#loadOrStore(first, second);
    const { file, chip, master } = this.#context;
    if ((first & Op.MOVE_RESERVED) !== 0) return this.#context.dmaInterrupt(Dstat.IID);
    const dsp = file.dword(Reg.DSP);
    const destination = master.dword(longAddress(file, Reg.SFS, dsp));
    if (destination === REFUSED) return this.#context.dmaInterrupt(Dstat.BF);
    file.setDword(Reg.DSP, dsp + 4);
    chip.moveCount = first & 0xffffff;
    chip.moveSource = second;
    chip.moveDestination = destination;
    this.proceed();
  }

  /** Copies what can be copied now of a memory move, from low addresses to high. */
  proceed(): void {
    const context = this.#context;
    const { file, chip } = context;
    while (context.running && chip.moveCount > 0) {
      const count = Math.min(chip.moveCount, PIECE);
      if (this.#buffer.length < count) this.#buffer = new Uint8Array(PIECE);
      const part = this.#buffer.subarray(0, count);
      const source = longAddress(file, Reg.MMRS, chip.moveSource);
      const destination = longAddress(file, Reg.MMWS, chip.moveDestination);
      // Account first: the bytes may land in the chip's own registers, and a reset there ends the move.
      chip.moveCount -= count;
      chip.moveSource += count;
      chip.moveDestination += count;
      if (!this.#read(source, part) || !this.#write(destination, part)) return context.dmaInterrupt(Dstat.BF);
      if (!context.spend(count) && chip.moveCount > 0 && context.running) return context.wait(Wait.CONTINUE);
    }
  }

  #read(address: number, part: Uint8Array): boolean {
    const { file, master } = this.#context;
    return file.has(Reg.DMODE, Dmode.SIOM) ? master.readIo(address, part) : master.read(address, part);
  }

  #write(address: number, part: Uint8Array): boolean {
    const { file, master } = this.#context;
    return file.has(Reg.DMODE, Dmode.DIOM) ? master.writeIo(address, part) : master.write(address, part);
  }

  /**
   * DMODE's SIOM (LOAD) and DIOM (STORE) choose the address space here, too (manual, section "Load and Store Instructions").
   *
   * One to four bytes that share their place in a dword on both sides; anything else is an illegal instruction.
   */
  #loadOrStore(first: number, second: number): void {
    const { file } = this.#context;
    const count = first & 7;
    const register = (first >>> 16) & 0xff;
    const isLoad = (first & Op.LOAD) !== 0;
    const relative = (first & Op.DSA_RELATIVE) !== 0;
    const low = relative ? (file.dword(Reg.DSA) + signed24(second)) >>> 0 : second;
    const lane = register & 3;
    if (count === 0 || lane + count > 4 || (low & 3) !== lane) return this.#context.dmaInterrupt(Dstat.IID);
    const address = longAddress(file, relative ? Reg.DRS : isLoad ? Reg.MMRS : Reg.MMWS, low);
    const done = isLoad ? this.#load(register, address, count) : this.#store(register, address, count);
    if (!done) this.#context.dmaInterrupt(Dstat.BF);
  }

  #load(register: number, address: number, count: number): boolean {
    const { port } = this.#context;
    const part = count === 4 ? this.#dword : this.#dword.subarray(0, count);
    if (!this.#read(address, part)) return false;
    for (let i = 0; i < count; i++) port.write(register + i, part[i]);
    return true;
  }

  #store(register: number, address: number, count: number): boolean {
    const { port } = this.#context;
    const part = count === 4 ? this.#dword : this.#dword.subarray(0, count);
    for (let i = 0; i < count; i++) part[i] = port.read(register + i);
    return this.#write(address, part);
  }
}
