/**
 * I/O instructions: selection, disconnection, reselection, and the lines and flags that SCRIPTS set and clear.
 *
 * Source: manual, section 5.4 "I/O Instruction". The target mode forms are there as far as a bus goes on which the chip
 * is the only initiator: nobody selects it, and nobody answers when it reselects.
 *
 * @module
 */
import { REFUSED } from "./bus_master.ts";
import { Wait } from "./chip_state.ts";
import { Dstat, Istat0, Reg, Scntl0, Sist1 } from "./registers.ts";
import { longAddress, type ScriptsContext, signed24 } from "./scripts_context.ts";

const Opcode = { SELECT: 0, WAIT_DISCONNECT: 1, WAIT_RESELECT: 2, SET: 3, CLEAR: 4 } as const;

/** Bits of the first dword. */
const Op = { RELATIVE: 0x04000000, TABLE_INDIRECT: 0x02000000, ATTENTION: 0x01000000 } as const;

/** What Set and Clear act on. */
const Flag = { ATN: 0x0008, ACK: 0x0040, TARGET: 0x0200, CARRY: 0x0400 } as const;

/** The I/O instructions. */
export class IoInstructions {
  readonly #context: ScriptsContext;

  constructor(context: ScriptsContext) {
    this.#context = context;
  }

  /** Executes an I/O instruction, or goes on with one that has waited. */
  execute(first: number, second: number): void {
    switch ((first >>> 27) & 7) {
      case Opcode.SELECT:
        return this.#select(first, second);
      case Opcode.WAIT_DISCONNECT:
        return this.#waitDisconnect();
      case Opcode.WAIT_RESELECT:
        return this.#waitReselect(first, second);
      case Opcode.SET:
        return this.#set(first);
      case Opcode.CLEAR:
        return this.#clear(first);
    }
  }

  /** Where to go instead when a target was faster (or SIGP came); also left in DNAD. */
  #alternative(first: number, second: number): number {
    const { file } = this.#context;
    const address = (first & Op.RELATIVE) !== 0 ? (file.dword(Reg.DSP) + signed24(second)) >>> 0 : second;
    file.setDword(Reg.DNAD, address);
    return address;
  }

  #select(first: number, second: number): void {
    const context = this.#context;
    const { file, connection } = context;
    const alternative = this.#alternative(first, second);
    let target = (first >>> 16) & 0x0f;
    if ((first & Op.TABLE_INDIRECT) !== 0) {
      const address = (file.dword(Reg.DSA) + signed24(first)) >>> 0;
      const entry = context.master.dword(longAddress(file, Reg.DRS, address));
      if (entry === REFUSED) return context.dmaInterrupt(Dstat.BF);
      file.bytes[Reg.SCNTL3] = entry >>> 24;
      file.bytes[Reg.SXFER] = entry >>> 8;
      target = (entry >>> 16) & 0x0f;
    }
    if (context.selectionTimedOut()) return;
    connection.settle();
    if (!context.running) return;
    file.bytes[Reg.SDID] = target;
    if (connection.reselected) return file.setDword(Reg.DSP, alternative);
    // The real chip would wait for the bus for ever. SeaBIOS gives a command up like this when it ends in a phase
    // mismatch.
    if (connection.connected) connection.abandon();
    if (file.has(Reg.SCNTL0, Scntl0.TRG)) return context.scsiInterrupt(0, Sist1.STO);
    connection.select(target, (first & Op.ATTENTION) !== 0);
    if (connection.selecting) context.selectionUnanswered();
  }

  #waitDisconnect(): void {
    const context = this.#context;
    if (context.selectionTimedOut()) return;
    context.connection.settle();
    if (context.running && context.connection.connected) context.wait(Wait.BUS);
  }

  #waitReselect(first: number, second: number): void {
    const context = this.#context;
    const { file, connection } = context;
    const alternative = this.#alternative(first, second);
    connection.settle();
    if (!context.running) return;
    if (file.has(Reg.ISTAT0, Istat0.SIGP)) return file.setDword(Reg.DSP, alternative);
    if (connection.connected || context.selectionTimedOut()) return;
    if (!context.acceptReselection()) context.wait(Wait.RESELECT);
  }

  #set(first: number): void {
    const { file, chip, connection } = this.#context;
    if ((first & Flag.ATN) !== 0) connection.setAttention(true);
    if ((first & Flag.ACK) !== 0) connection.setAcknowledge(true);
    if ((first & Flag.TARGET) !== 0) file.raise(Reg.SCNTL0, Scntl0.TRG);
    if ((first & Flag.CARRY) !== 0) chip.carry = 1;
  }

  #clear(first: number): void {
    const { file, chip, connection } = this.#context;
    if ((first & Flag.ATN) !== 0) connection.setAttention(false);
    if ((first & Flag.TARGET) !== 0) file.lower(Reg.SCNTL0, Scntl0.TRG);
    if ((first & Flag.CARRY) !== 0) chip.carry = 0;
    if ((first & Flag.ACK) === 0) return;
    connection.setAcknowledge(false);
    connection.acknowledged();
  }
}
