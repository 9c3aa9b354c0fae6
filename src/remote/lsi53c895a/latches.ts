/**
 * Registers that show something else than what was last written to them: the general purpose pins, and the scratch
 * registers while CTEST2.PCICIE has base addresses in their place. The register file holds what they show, and this
 * what was written.
 *
 * Source: manual, GPREG, GPCNTL, CTEST2, SCRATCHA and SCRATCHB.
 *
 * @module
 */
import { type ConfigSpace, PciConfig } from "../../device/config_space.ts";
import { Bar } from "./bus_master.ts";
import { Ctest2, Reg, type RegisterFile } from "./registers.ts";

/** GPIO pins that are inputs float high. */
const GPIO_PINS = 0x1f;

/** Bytes of a scratch register. */
const DWORD = 4;

/** The scratch registers, and the BAR whose base address each of them shows. */
const SCRATCH = [[Reg.SCRATCHA, Bar.MEMORY_REGISTERS], [Reg.SCRATCHB, Bar.SCRIPTS_RAM]] as const;

/** See the module. */
export class Latches {
  readonly #file: RegisterFile;
  readonly #config: ConfigSpace;
  /** What was written to GPREG. */
  #outputs = 0;
  /** What the scratch registers hold, at their offsets, while they show base addresses. */
  readonly #scratch = new Uint8Array(Reg.SIZE);
  #showsBases = false;
  readonly #scratchHidden: (hidden: boolean) => void;

  /**
   * @param scratchHidden Called when the scratch registers begin to show base addresses, and when they no longer do:
   * between these, {@linkcode Latches.writeScratch} takes what is written to them.
   */
  constructor(file: RegisterFile, config: ConfigSpace, scratchHidden: (hidden: boolean) => void) {
    this.#file = file;
    this.#config = config;
    this.#scratchHidden = scratchHidden;
  }

  /** The register file has been filled with what was written: after a reset, or from a saved state. */
  load(): void {
    this.#outputs = this.#file.bytes[Reg.GPREG];
    this.#showPins();
    this.#setShowsBases(false);
    this.showBases();
  }

  /** Puts what was written into a copy of the register file. */
  store(registers: Uint8Array): void {
    registers[Reg.GPREG] = this.#outputs;
    if (!this.#showsBases) return;
    for (const [register] of SCRATCH) registers.set(this.#scratch.subarray(register, register + DWORD), register);
  }

  writeGpreg(value: number): void {
    this.#outputs = value & GPIO_PINS;
    this.#showPins();
  }

  writeGpcntl(value: number): void {
    this.#file.write(Reg.GPCNTL, value);
    this.#showPins();
  }

  writeCtest2(value: number): void {
    this.#file.write(Reg.CTEST2, value);
    this.showBases();
  }

  /** Writes a byte of SCRATCHA or SCRATCHB while they are hidden. */
  writeScratch(offset: number, value: number): void {
    this.#scratch[offset] = value;
  }

  /** PCICIE or the BARs may have changed. */
  showBases(): void {
    const before = this.#showsBases;
    this.#setShowsBases(this.#file.has(Reg.CTEST2, Ctest2.PCICIE));
    if (!before && !this.#showsBases) return;
    const { bytes } = this.#file;
    for (const [register, bar] of SCRATCH) {
      const own = this.#scratch.subarray(register, register + DWORD);
      if (!before) own.set(bytes.subarray(register, register + DWORD));
      if (this.#showsBases) this.#file.setDword(register, this.#config.read(PciConfig.BAR0 + 4 * bar, 4));
      else bytes.set(own, register);
    }
  }

  #setShowsBases(shown: boolean): void {
    if (shown === this.#showsBases) return;
    this.#showsBases = shown;
    this.#scratchHidden(shown);
  }

  #showPins(): void {
    const { bytes } = this.#file;
    const inputs = bytes[Reg.GPCNTL] & GPIO_PINS;
    bytes[Reg.GPREG] = (this.#outputs & ~inputs & GPIO_PINS) | inputs;
  }
}
