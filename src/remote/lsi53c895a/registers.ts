/**
 * The operating registers of the LSI53C895A: where they are, what their bits mean, what they hold after a reset.
 *
 * Source: LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual, version 2.2 (LSI Logic DB14-000089-03), chapter 4,
 * "SCSI Registers" (4.2), "64-bit SCRIPTS Selectors" (4.3) and "Phase Mismatch Jump Registers" (4.4). "The manual" in
 * this folder is that book. Multi-byte registers are little-endian.
 *
 * @module
 */

/** Offsets into the register file, which is 256 bytes long. */
export const Reg = {
  SCNTL0: 0x00,
  SCNTL1: 0x01,
  SCNTL2: 0x02,
  SCNTL3: 0x03,
  SCID: 0x04,
  SXFER: 0x05,
  SDID: 0x06,
  GPREG: 0x07,
  SFBR: 0x08,
  SOCL: 0x09,
  SSID: 0x0a,
  SBCL: 0x0b,
  DSTAT: 0x0c,
  SSTAT0: 0x0d,
  SSTAT1: 0x0e,
  SSTAT2: 0x0f,
  DSA: 0x10,
  ISTAT0: 0x14,
  ISTAT1: 0x15,
  MBOX0: 0x16,
  MBOX1: 0x17,
  CTEST0: 0x18,
  CTEST1: 0x19,
  CTEST2: 0x1a,
  CTEST3: 0x1b,
  TEMP: 0x1c,
  DFIFO: 0x20,
  CTEST4: 0x21,
  CTEST5: 0x22,
  CTEST6: 0x23,
  /** 24 bits. As a dword, DBC and DCMD hold the first dword of the current instruction. */
  DBC: 0x24,
  DCMD: 0x27,
  DNAD: 0x28,
  DSP: 0x2c,
  DSPS: 0x30,
  SCRATCHA: 0x34,
  DMODE: 0x38,
  DIEN: 0x39,
  SBR: 0x3a,
  DCNTL: 0x3b,
  ADDER: 0x3c,
  SIEN0: 0x40,
  SIEN1: 0x41,
  SIST0: 0x42,
  SIST1: 0x43,
  SLPAR: 0x44,
  SWIDE: 0x45,
  MACNTL: 0x46,
  GPCNTL: 0x47,
  STIME0: 0x48,
  STIME1: 0x49,
  RESPID0: 0x4a,
  RESPID1: 0x4b,
  STEST0: 0x4c,
  STEST1: 0x4d,
  STEST2: 0x4e,
  STEST3: 0x4f,
  SIDL: 0x50,
  STEST4: 0x52,
  SODL: 0x54,
  CCNTL0: 0x56,
  CCNTL1: 0x57,
  SBDL: 0x58,
  SCRATCHB: 0x5c,
  /** The first of SCRATCHC to SCRATCHR. */
  SCRATCHC: 0x60,
  MMRS: 0xa0,
  MMWS: 0xa4,
  SFS: 0xa8,
  DRS: 0xac,
  SBMS: 0xb0,
  DBMS: 0xb4,
  DNAD64: 0xb8,
  PMJAD1: 0xc0,
  PMJAD2: 0xc4,
  RBC: 0xc8,
  UA: 0xcc,
  ESA: 0xd0,
  IA: 0xd4,
  SBC: 0xd8,
  CSBC: 0xdc,
  SIZE: 0x100,
} as const;

/** SCSI Control Zero. */
export const Scntl0 = { TRG: 0x01, START: 0x20 } as const;
/** SCSI Control One. */
export const Scntl1 = { SST: 0x01, IARB: 0x02, RST: 0x08, CON: 0x10 } as const;
/** SCSI Control Two. */
export const Scntl2 = { WSR: 0x01, WSS: 0x08, CHM: 0x40, SDU: 0x80 } as const;
/** SCSI Chip ID. */
export const Scid = { RRE: 0x40, ID: 0x0f } as const;
/** SCSI Selector ID. */
export const Ssid = { VAL: 0x80 } as const;
/** SCSI Output Control Latch and SCSI Bus Control Lines; the low three bits are the phase. */
export const ControlLine = { ATN: 0x08, BSY: 0x20, ACK: 0x40, REQ: 0x80 } as const;
/** DMA Status and, but for DFE, DMA Interrupt Enable. */
export const Dstat = { IID: 0x01, SIR: 0x04, SSI: 0x08, ABRT: 0x10, BF: 0x20, MDPE: 0x40, DFE: 0x80 } as const;
/** SCSI Status Zero. */
export const Sstat0 = { RST: 0x02, WOA: 0x04 } as const;
/** SCSI Status Two. */
export const Sstat2 = { LDSC: 0x02 } as const;
/** Interrupt Status Zero. */
export const Istat0 = {
  DIP: 0x01,
  SIP: 0x02,
  INTF: 0x04,
  CON: 0x08,
  SEM: 0x10,
  SIGP: 0x20,
  SRST: 0x40,
  ABRT: 0x80,
} as const;
/** Interrupt Status One. */
export const Istat1 = { SI: 0x01, SRUN: 0x02 } as const;
/** Chip Test Two. */
export const Ctest2 = { DACK: 0x01, PCICIE: 0x08, CM: 0x10, CIO: 0x20, SIGP: 0x40, DDIR: 0x80 } as const;
/** DMA Mode. */
export const Dmode = { MAN: 0x01, DIOM: 0x10, SIOM: 0x20 } as const;
/** DMA Control. */
export const Dcntl = { COM: 0x01, IRQD: 0x02, STD: 0x04, SSM: 0x10 } as const;
/** SCSI Interrupt Status Zero and Enable Zero. */
export const Sist0 = {
  PAR: 0x01,
  RST: 0x02,
  UDC: 0x04,
  SGE: 0x08,
  RSL: 0x10,
  SEL: 0x20,
  CMP: 0x40,
  MA: 0x80,
} as const;
/** SCSI Interrupt Status One and Enable One. */
export const Sist1 = { HTH: 0x01, GEN: 0x02, STO: 0x04, SBMC: 0x10 } as const;
/** SCSI Timer One. */
export const Stime1 = { GEN: 0x0f, HTHSF: 0x10, GENSF: 0x20 } as const;
/** Chip Control Zero. */
export const Ccntl0 = { ENNDJ: 0x20, PMJCTL: 0x40, ENPMJ: 0x80 } as const;
/** Chip Control One. */
export const Ccntl1 = { EN64DBMV: 0x01, EN64TIBMV: 0x02, TIMOD64: 0x04, DDAC: 0x08 } as const;

/**
 * Registers whose reading does something: it takes interrupts away, or CTEST2's SIGP. Reading any other has no effect
 * but to tell what {@linkcode RegisterFile} holds.
 */
export const READING_HAS_EFFECT: readonly number[] = [Reg.DSTAT, Reg.CTEST2, Reg.SIST0, Reg.SIST1];

/**
 * The registers that hold something: offset, bytes, value after a reset, bits that a write changes.
 *
 * Bits that start something, clear themselves or follow a line are not writable here; the device gives them their
 * effect. Where the manual leaves a reset value open, it is zero or what QEMU's model of the chip has (SCID, DCMD,
 * MACNTL, RESPID0, STEST4: LVD mode, clock multiplier locked).
 */
const REGISTERS: readonly (readonly [offset: number, size: number, reset: number, writable: number])[] = [
  [Reg.SCNTL0, 1, 0xc0, 0xff],
  [Reg.SCNTL1, 1, 0x00, 0xff & ~(Scntl1.CON | Scntl1.SST)],
  [Reg.SCNTL2, 1, 0x00, 0xff & ~(Scntl2.WSR | Scntl2.WSS)],
  [Reg.SCNTL3, 1, 0x00, 0xff],
  [Reg.SCID, 1, 0x07, 0x6f],
  [Reg.SXFER, 1, 0x00, 0xff],
  [Reg.SDID, 1, 0x00, 0x0f],
  [Reg.GPREG, 1, 0x00, 0x1f],
  [Reg.SFBR, 1, 0x00, 0xff],
  [Reg.SOCL, 1, 0x00, 0xff],
  [Reg.SSTAT2, 1, Sstat2.LDSC, 0x00],
  [Reg.DSA, 4, 0, 0xffffffff],
  [Reg.ISTAT0, 1, 0x00, Istat0.SEM | Istat0.SIGP | Istat0.ABRT],
  [Reg.ISTAT1, 1, 0x00, Istat1.SI],
  [Reg.MBOX0, 2, 0, 0xffff],
  [Reg.CTEST0, 1, 0x00, 0xff],
  [Reg.CTEST1, 1, 0xf0, 0x00],
  [Reg.CTEST2, 1, Ctest2.DACK, Ctest2.PCICIE],
  [Reg.CTEST3, 1, 0x00, 0x0b],
  [Reg.TEMP, 4, 0, 0xffffffff],
  [Reg.CTEST4, 1, 0x00, 0xff],
  [Reg.CTEST5, 1, 0x00, 0x3c],
  [Reg.DBC, 4, 0x40000000, 0xffffffff],
  [Reg.DNAD, 4, 0, 0xffffffff],
  [Reg.DSP, 4, 0, 0xffffffff],
  [Reg.DSPS, 4, 0, 0xffffffff],
  [Reg.SCRATCHA, 4, 0, 0xffffffff],
  [Reg.DMODE, 1, 0x00, 0xff],
  [Reg.DIEN, 1, 0x00, 0x7d],
  [Reg.SBR, 1, 0x00, 0xff],
  [Reg.DCNTL, 1, 0x00, 0xbb],
  [Reg.SIEN0, 1, 0x00, 0xff],
  [Reg.SIEN1, 1, 0x00, 0x17],
  [Reg.MACNTL, 1, 0x0f, 0x0f],
  [Reg.GPCNTL, 1, 0x0f, 0xff],
  [Reg.STIME0, 1, 0x00, 0xff],
  [Reg.STIME1, 1, 0x00, 0x7f],
  [Reg.RESPID0, 2, 0x0080, 0xffff],
  [Reg.STEST0, 1, 0x03, 0x00],
  [Reg.STEST1, 1, 0x00, 0xcf],
  [Reg.STEST2, 1, 0x00, 0xbf],
  [Reg.STEST3, 1, 0x00, 0xfd],
  [Reg.STEST4, 1, 0xe0, 0x00],
  [Reg.SODL, 2, 0, 0xffff],
  [Reg.CCNTL0, 1, 0x00, 0xf3],
  [Reg.CCNTL1, 1, 0x00, 0xcf],
  [Reg.SCRATCHB, 4, 0, 0xffffffff],
  ...Array.from({ length: 16 }, (_, i) => [Reg.SCRATCHC + 4 * i, 4, 0, 0xffffffff] as const),
  [Reg.MMRS, 4, 0, 0xffffffff],
  [Reg.MMWS, 4, 0, 0xffffffff],
  [Reg.SFS, 4, 0, 0xffffffff],
  [Reg.DRS, 4, 0, 0xffffffff],
  [Reg.SBMS, 4, 0, 0xffffffff],
  [Reg.DBMS, 4, 0, 0xffffffff],
  [Reg.DNAD64, 4, 0, 0xffffffff],
  [Reg.PMJAD1, 4, 0, 0xffffffff],
  [Reg.PMJAD2, 4, 0, 0xffffffff],
  [Reg.RBC, 4, 0, 0xffffffff],
  [Reg.UA, 4, 0, 0xffffffff],
  [Reg.ESA, 4, 0, 0xffffffff],
  [Reg.IA, 4, 0, 0xffffffff],
  [Reg.CSBC, 4, 0, 0xffffffff],
];

const RESET_VALUE = new Uint8Array(Reg.SIZE);
const WRITABLE = new Uint8Array(Reg.SIZE);
for (const [offset, size, reset, writable] of REGISTERS) {
  for (let i = 0; i < size; i++) {
    RESET_VALUE[offset + i] = reset >>> (8 * i);
    WRITABLE[offset + i] = writable >>> (8 * i);
  }
}

/** The part of {@linkcode Reg.DBC} that CTEST5 shows. */
const CTEST5_COUNT = 0x03;

/**
 * The register file: what a read of a register returns, but for those of {@linkcode READING_HAS_EFFECT}. No access has
 * side effects here.
 *
 * Registers that follow something else are kept up with it as it changes, since the bytes may be read at any time (see
 * {@linkcode ChipShadow}): by whoever owns what they follow, and, where that is another register, here.
 */
export class RegisterFile {
  /**
   * The 256 bytes. DBC, which others follow, changes through {@linkcode setInstruction}, {@linkcode setCount} and
   * {@linkcode write} only.
   */
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** @param bytes 256 bytes to keep the registers in. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, Reg.SIZE);
  }

  /** The dword at `offset`, unsigned. */
  dword(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** Sets the dword at `offset`, whatever its write mask says. It is not that of DBC. */
  setDword(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  /** Sets DCMD and DBC: the first dword of an instruction. */
  setInstruction(first: number): void {
    this.#view.setUint32(Reg.DBC, first, true);
    this.followByteCount();
  }

  /** The low 24 bits of the dword at `offset`. */
  count(offset: number): number {
    return this.#view.getUint32(offset, true) & 0xffffff;
  }

  /** Sets the low 24 bits of the dword at `offset`. */
  setCount(offset: number, value: number): void {
    this.setDword(offset, (this.dword(offset) & 0xff000000) | (value & 0xffffff));
    if (offset === Reg.DBC) this.followByteCount();
  }

  /** Whether any of `bits` is set in the byte at `offset`. */
  has(offset: number, bits: number): boolean {
    return (this.bytes[offset] & bits) !== 0;
  }

  /** Sets bits of the byte at `offset`. */
  raise(offset: number, bits: number): void {
    this.bytes[offset] |= bits;
  }

  /** Clears bits of the byte at `offset`. */
  lower(offset: number, bits: number): void {
    this.bytes[offset] &= ~bits;
  }

  /** Writes the writable bits of the byte at `offset`. */
  write(offset: number, value: number): void {
    const mask = WRITABLE[offset];
    this.bytes[offset] = (this.bytes[offset] & ~mask) | (value & mask);
    if ((offset & ~3) === Reg.DBC) this.followByteCount();
  }

  /**
   * DFIFO and CTEST5 count the bytes in the DMA FIFO against DBC's low ten bits: alike, they say that it is empty
   * (manual, DFIFO).
   */
  followByteCount(): void {
    const { bytes } = this;
    bytes[Reg.DFIFO] = bytes[Reg.DBC];
    bytes[Reg.CTEST5] = (bytes[Reg.CTEST5] & ~CTEST5_COUNT) | (bytes[Reg.DBC + 1] & CTEST5_COUNT);
  }

  /** Whether a write to the dword at `offset` changes all of its bits, and nothing else. */
  isPlain(offset: number): boolean {
    return offset !== Reg.DBC &&
      (WRITABLE[offset] & WRITABLE[offset + 1] & WRITABLE[offset + 2] & WRITABLE[offset + 3]) === 0xff;
  }

  /** Gives every register its reset value. */
  reset(): void {
    this.bytes.set(RESET_VALUE);
  }
}
