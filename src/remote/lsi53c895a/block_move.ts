/**
 * Block moves: information transfer phases between the SCSI bus and memory.
 *
 * Source: manual, section 5.3 "Block Move Instruction", and section 4.4 for what a phase mismatch leaves behind.
 *
 * @module
 */
import { REFUSED } from "./bus_master.ts";
import { Wait } from "./chip_state.ts";
import { Phase } from "./connection.ts";
import { MAX_MESSAGE } from "./messages.ts";
import { Ccntl0, Ccntl1, Dmode, Dstat, Reg, Scntl0, Scntl2, Sist0, Sstat2 } from "./registers.ts";
import { longAddress, type ScriptsContext, signed24 } from "./scripts_context.ts";

/** Bits of the first dword. */
const Op = { INDIRECT: 0x20000000, TABLE_INDIRECT: 0x10000000, MOVE: 0x08000000 } as const;

/** Most bytes of a data phase that move at a time, so that one instruction cannot hold up the device for long. */
const PIECE = 0x10000;

/** Selector registers by the index in a table entry (CCNTL1.64TIMOD clear): SCRATCHC to SCRATCHR, then these. */
const SELECTORS = [Reg.MMRS, Reg.MMWS, Reg.SFS, Reg.DRS, Reg.SBMS, Reg.DBMS];

/** Where a block move's data are. */
interface Buffer {
  readonly count: number;
  readonly low: number;
  readonly high: number;
  /** Bits 31 to 24 of RBC: the operation code, or the table entry's upper byte. */
  readonly upperByte: number;
}

/** The block move engine. */
export class BlockMove {
  readonly #context: ScriptsContext;
  readonly #bytes = new Uint8Array(MAX_MESSAGE);

  constructor(context: ScriptsContext) {
    this.#context = context;
  }

  /** Begins the instruction whose first two dwords are given; DSP is past them. */
  begin(first: number, second: number): void {
    const { file, chip, connection } = this.#context;
    const instruction = (file.dword(Reg.DSP) - 8) >>> 0;
    file.setDword(Reg.IA, instruction);
    file.setDword(Reg.ESA, instruction);
    if (file.has(Reg.SCNTL0, Scntl0.TRG)) return this.#context.dmaInterrupt(Dstat.IID);
    const buffer = this.#locate(first, second);
    if (buffer === undefined) return;
    file.setInstruction((first & 0xff000000) | buffer.count);
    file.setDword(Reg.DNAD, buffer.low);
    file.setDword(Reg.DNAD64, buffer.high);
    file.setDword(Reg.RBC, (buffer.upperByte << 24) | buffer.count);
    if ((first & Op.MOVE) !== 0) file.lower(Reg.SCNTL2, Scntl2.CHM);
    else file.raise(Reg.SCNTL2, Scntl2.CHM);
    chip.blockLength = buffer.count;
    if (buffer.count === 0) return this.#context.dmaInterrupt(Dstat.IID);
    if (connection.connected) file.lower(Reg.SSTAT2, Sstat2.LDSC);
    this.proceed();
  }

  /** Moves what can be moved now of the instruction in DCMD, DBC and DNAD. */
  proceed(): void {
    const context = this.#context;
    const { file, connection } = context;
    const wanted = file.bytes[Reg.DCMD] & 7;
    while (context.running) {
      if (file.count(Reg.DBC) === 0) return this.#account();
      if (context.selectionTimedOut()) return;
      const phase = connection.settle(wanted);
      if (!context.running) return;
      if (phase === Phase.NONE) {
        if (!connection.connected && context.acceptReselection()) continue;
        return context.wait(Wait.BUS);
      }
      if (phase !== wanted) return this.#mismatch(wanted);
      const before = file.count(Reg.DBC);
      if (!this.#transfer(phase)) return context.dmaInterrupt(Dstat.BF);
      const left = file.count(Reg.DBC);
      if (!context.spend(before - left) && left > 0 && context.running) return context.wait(Wait.CONTINUE);
    }
  }

  /** Finds count and address by the instruction's addressing mode. A fault has been raised when it returns nothing. */
  #locate(first: number, second: number): Buffer | undefined {
    const { file, master } = this.#context;
    const count = first & 0xffffff;
    const upperByte = first >>> 24;
    if ((first & Op.INDIRECT) !== 0) {
      const low = master.dword(longAddress(file, Reg.SFS, second));
      if (low === REFUSED) return this.#fault(Dstat.BF);
      return { count, low, high: this.#selected(Reg.SBMS), upperByte };
    }
    if ((first & Op.TABLE_INDIRECT) !== 0) return this.#locateInTable(second);
    if (!file.has(Reg.CCNTL1, Ccntl1.EN64DBMV)) {
      return { count, low: second, high: this.#selected(Reg.SBMS), upperByte };
    }
    const dsp = file.dword(Reg.DSP);
    const high = master.dword(longAddress(file, Reg.SFS, dsp));
    if (high === REFUSED) return this.#fault(Dstat.BF);
    file.setDword(Reg.DBMS, high);
    file.setDword(Reg.DSP, dsp + 4);
    return { count, low: second, high: this.#selected(Reg.DBMS), upperByte };
  }

  #locateInTable(offset: number): Buffer | undefined {
    const { file, master } = this.#context;
    const entry = (file.dword(Reg.DSA) + signed24(offset)) >>> 0;
    file.setDword(Reg.ESA, entry);
    const head = master.dword(longAddress(file, Reg.DRS, entry));
    const low = master.dword(longAddress(file, Reg.DRS, entry) + 4);
    if (head === REFUSED || low === REFUSED) return this.#fault(Dstat.BF);
    const upperByte = head >>> 24;
    const count = head & 0xffffff;
    if (!file.has(Reg.CCNTL1, Ccntl1.EN64TIBMV)) return { count, low, high: this.#selected(Reg.SBMS), upperByte };
    if (file.has(Reg.CCNTL1, Ccntl1.TIMOD64)) {
      const high = file.has(Reg.CCNTL1, Ccntl1.DDAC) ? 0 : upperByte;
      return { count, low, high, upperByte };
    }
    const index = upperByte & 0x1f;
    const selector = index < 16 ? Reg.SCRATCHC + 4 * index : SELECTORS[index - 16];
    if (selector === undefined) return this.#fault(Dstat.IID);
    return { count, low, high: this.#selected(selector), upperByte };
  }

  #selected(selector: number): number {
    const { file } = this.#context;
    return file.has(Reg.CCNTL1, Ccntl1.DDAC) ? 0 : file.dword(selector);
  }

  #fault(dstat: number): undefined {
    this.#context.dmaInterrupt(dstat);
  }

  /** Moves some bytes in a phase that both sides agree on. @returns `false` when memory did not answer. */
  #transfer(phase: number): boolean {
    switch (phase) {
      case Phase.DATA_IN:
      case Phase.DATA_OUT:
        return this.#data(phase);
      case Phase.COMMAND:
        return this.#command();
      case Phase.STATUS:
        return this.#status();
      case Phase.MESSAGE_OUT:
        return this.#messageOut();
      default:
        return this.#messageIn();
    }
  }

  #data(phase: number): boolean {
    const { file, connection } = this.#context;
    const process = connection.process;
    const part = connection.dataPart(Math.min(file.count(Reg.DBC), PIECE));
    const moved = phase === Phase.DATA_IN ? this.#toMemory(part) : this.#fromMemory(part);
    if (!moved) return false;
    if (phase === Phase.DATA_IN && part.length > 0) file.bytes[Reg.SFBR] = part[0];
    this.#advance(part.length);
    file.setDword(Reg.CSBC, file.dword(Reg.CSBC) + part.length);
    // The bytes may have landed in the chip's own registers and ended the command.
    if (connection.process === process) connection.advanceData(part.length);
    this.#context.progressed();
    return true;
  }

  #command(): boolean {
    const { file, connection } = this.#context;
    const part = this.#bytes.subarray(0, Math.min(file.count(Reg.DBC), connection.cdbRoom));
    if (!this.#fromMemory(part)) return false;
    this.#advance(part.length);
    connection.takeCommand(part);
    this.#context.progressed();
    return true;
  }

  #status(): boolean {
    const { file, connection } = this.#context;
    const part = this.#bytes.subarray(0, 1);
    part[0] = connection.takeStatus();
    file.bytes[Reg.SFBR] = file.bytes[Reg.SIDL] = part[0];
    if (!this.#toMemory(part)) return false;
    this.#advance(1);
    return true;
  }

  /** After the last byte ATN/ is released by itself (manual, section 5.3). */
  #messageOut(): boolean {
    const { file, connection } = this.#context;
    const part = this.#bytes.subarray(0, Math.min(file.count(Reg.DBC), this.#bytes.length));
    if (!this.#fromMemory(part)) return false;
    this.#advance(part.length);
    if (file.count(Reg.DBC) === 0) connection.setAttention(false);
    connection.putMessage(part);
    return true;
  }

  /** ACK/ stays asserted after the last byte until a Clear instruction; drivers find that byte in SIDL. */
  #messageIn(): boolean {
    const { file, connection } = this.#context;
    const room = this.#bytes.subarray(0, Math.min(file.count(Reg.DBC), this.#bytes.length));
    const part = room.subarray(0, connection.takeMessage(room));
    file.bytes[Reg.SFBR] = part[0];
    file.bytes[Reg.SIDL] = part[part.length - 1];
    connection.setAcknowledge(true);
    if (!this.#toMemory(part)) return false;
    this.#advance(part.length);
    return true;
  }

  #address(): number {
    const { file } = this.#context;
    return file.dword(Reg.DNAD64) * 0x100000000 + file.dword(Reg.DNAD);
  }

  #toMemory(part: Uint8Array): boolean {
    const { file, master } = this.#context;
    return file.has(Reg.DMODE, Dmode.DIOM)
      ? master.writeIo(this.#address(), part)
      : master.write(this.#address(), part);
  }

  #fromMemory(part: Uint8Array): boolean {
    const { file, master } = this.#context;
    return file.has(Reg.DMODE, Dmode.SIOM) ? master.readIo(this.#address(), part) : master.read(this.#address(), part);
  }

  #advance(count: number): void {
    const { file } = this.#context;
    file.setDword(Reg.DNAD, file.dword(Reg.DNAD) + count);
    file.setCount(Reg.DBC, file.count(Reg.DBC) - count);
  }

  /** Leaves behind how far the move came: SBC, RBC and UA. */
  #account(): void {
    const { file, chip } = this.#context;
    const left = file.count(Reg.DBC);
    file.setCount(Reg.SBC, chip.blockLength - left);
    file.setCount(Reg.RBC, left);
    file.setDword(Reg.UA, file.dword(Reg.DNAD));
  }

  /**
   * The target asks for another phase: a jump where the driver has enabled that for this kind of phase (CCNTL0), else
   * an interrupt. Which jump address is taken depends on the phase that the instruction was for.
   */
  #mismatch(wanted: number): void {
    const { file } = this.#context;
    this.#account();
    const isData = wanted === Phase.DATA_IN || wanted === Phase.DATA_OUT;
    if (!file.has(Reg.CCNTL0, Ccntl0.ENPMJ) || !(isData || file.has(Reg.CCNTL0, Ccntl0.ENNDJ))) {
      return this.#context.scsiInterrupt(Sist0.MA, 0);
    }
    const second = file.has(Reg.CCNTL0, Ccntl0.PMJCTL) ? (wanted & 1) !== 0 : file.has(Reg.SCNTL2, Scntl2.WSR);
    file.setDword(Reg.DSP, file.dword(second ? Reg.PMJAD2 : Reg.PMJAD1));
  }
}
