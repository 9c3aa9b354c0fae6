/**
 * Interrupts: DSTAT, SIST0, SIST1, their masks, the stack behind them, INTF, and the pin.
 *
 * Source: manual, section 2.2.16 "Interrupt Handling" (fatal and nonfatal interrupts, masking, stacking) and the
 * register descriptions in chapter 4.
 *
 * @module
 */
import type { InterruptPin } from "../../device/pci_device.ts";
import type { ChipRecord } from "./chip_state.ts";
import { Dcntl, Dstat, Istat0, Istat1, Reg, type RegisterFile, Sist0, Sist1 } from "./registers.ts";

/**
 * The SCSI interrupts that stop SCRIPTS and set SIP even when they are masked. The others ("nonfatal") do neither then;
 * they are only posted in SIST0 and SIST1. Every DMA interrupt is fatal.
 */
const FATAL_SIST0 = Sist0.MA | Sist0.SGE | Sist0.UDC | Sist0.RST | Sist0.PAR;
const FATAL_SIST1 = Sist1.STO | Sist1.SBMC;

/** The interrupt logic. */
export class Interrupts {
  readonly #file: RegisterFile;
  readonly #chip: ChipRecord;
  readonly #pin: InterruptPin;

  constructor(file: RegisterFile, chip: ChipRecord, pin: InterruptPin) {
    this.#file = file;
    this.#chip = chip;
    this.#pin = pin;
  }

  /** Whether SIP, DIP or INTF is set: the driver has something to serve first. */
  get pending(): boolean {
    return this.#file.has(Reg.ISTAT0, Istat0.SIP | Istat0.DIP | Istat0.INTF);
  }

  /** Whether such SCSI interrupts stop SCRIPTS and set SIP: they are fatal or not masked. */
  isServed(sist0: number, sist1: number): boolean {
    const { bytes } = this.#file;
    return (sist0 & (FATAL_SIST0 | bytes[Reg.SIEN0])) !== 0 || (sist1 & (FATAL_SIST1 | bytes[Reg.SIEN1])) !== 0;
  }

  /** Posts SCSI interrupts that occur together. */
  raiseScsi(sist0: number, sist1: number): void {
    const { bytes } = this.#file;
    if (this.#stacking) {
      this.#chip.stackedSist0 |= sist0;
      this.#chip.stackedSist1 |= sist1;
    } else {
      bytes[Reg.SIST0] |= sist0;
      bytes[Reg.SIST1] |= sist1;
    }
    this.update();
  }

  /** Posts DMA interrupts that occur together. They always stop SCRIPTS. */
  raiseDma(dstat: number): void {
    if (this.#stacking) this.#chip.stackedDstat |= dstat;
    else this.#file.bytes[Reg.DSTAT] |= dstat;
    this.update();
  }

  /** Interrupt on the fly: it is neither stacked nor masked. */
  raiseOnTheFly(): void {
    this.#file.raise(Reg.ISTAT0, Istat0.INTF);
    this.update();
  }

  /** The driver has written one to INTF. */
  clearOnTheFly(): void {
    this.#file.lower(Reg.ISTAT0, Istat0.INTF);
    this.update();
  }

  /** Reads and clears DSTAT. The DMA FIFO is always empty (DFE). */
  readDstat(): number {
    return this.#take(Reg.DSTAT) | Dstat.DFE;
  }

  /** Reads and clears SIST0. */
  readSist0(): number {
    return this.#take(Reg.SIST0);
  }

  /** Reads and clears SIST1. */
  readSist1(): number {
    return this.#take(Reg.SIST1);
  }

  /**
   * Moves stacked interrupts up when none is left in front of them. Called at the end of a whole bus access, so that a
   * word read of SIST0 and SIST1 takes one level of the stack and not parts of two.
   */
  unstack(): void {
    const chip = this.#chip;
    if ((chip.stackedDstat | chip.stackedSist0 | chip.stackedSist1) === 0 || this.#stacking) return;
    const { bytes } = this.#file;
    bytes[Reg.DSTAT] |= chip.stackedDstat;
    bytes[Reg.SIST0] |= chip.stackedSist0;
    bytes[Reg.SIST1] |= chip.stackedSist1;
    chip.stackedDstat = chip.stackedSist0 = chip.stackedSist1 = 0;
    this.update();
  }

  /**
   * Follows a change of status or masks: SIP and DIP in ISTAT0 first, and then the pin. ISTAT1.SI lets an interrupt
   * that is out stay, and keeps new ones in.
   */
  update(): void {
    const { bytes } = this.#file;
    const scsi = this.isServed(bytes[Reg.SIST0], bytes[Reg.SIST1]) ? Istat0.SIP : 0;
    const dma = bytes[Reg.DSTAT] !== 0 ? Istat0.DIP : 0;
    bytes[Reg.ISTAT0] = (bytes[Reg.ISTAT0] & ~(Istat0.SIP | Istat0.DIP)) | scsi | dma;
    const wanted = (bytes[Reg.ISTAT0] & Istat0.INTF) !== 0 || (bytes[Reg.DSTAT] & bytes[Reg.DIEN]) !== 0 ||
      (bytes[Reg.SIST0] & bytes[Reg.SIEN0]) !== 0 || (bytes[Reg.SIST1] & bytes[Reg.SIEN1]) !== 0;
    const disabled = (bytes[Reg.DCNTL] & Dcntl.IRQD) !== 0 ||
      ((bytes[Reg.ISTAT1] & Istat1.SI) !== 0 && !this.#chip.pinAsserted);
    this.#chip.pinAsserted = wanted && !disabled;
    this.#pin.set(this.#chip.pinAsserted);
  }

  /** New interrupts stack up behind a SIP or DIP that the driver has not served yet. */
  get #stacking(): boolean {
    return this.#file.has(Reg.ISTAT0, Istat0.SIP | Istat0.DIP);
  }

  #take(register: number): number {
    const { bytes } = this.#file;
    const value = bytes[register];
    bytes[register] = 0;
    if (value !== 0) this.update();
    return value;
  }
}
