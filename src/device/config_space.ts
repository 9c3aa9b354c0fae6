/**
 * PCI configuration space: 256 bytes with write masks (PCI Local Bus Specification 3.0, chapter 6).
 *
 * @module
 */

/** Offsets in a type 0 header (PCI 3.0, section 6.1), and the bits that software writes. */
export const PciConfig = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS_CODE: 0x09,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  ROM_ADDRESS: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  MIN_GNT: 0x3e,
  MAX_LAT: 0x3f,
  SIZE: 0x100,
} as const;

/** Bits of the command register (PCI 3.0, section 6.2.2). */
export const PciCommand = {
  IO: 0x0001,
  MEMORY: 0x0002,
  MASTER: 0x0004,
  /** Memory write and invalidate. */
  INVALIDATE: 0x0010,
  PARITY: 0x0040,
  SERR: 0x0100,
  INTX_DISABLE: 0x0400,
} as const;

/** Bits of the status register (PCI 3.0, section 6.2.3). */
export const PciStatus = {
  INTERRUPT: 0x0008,
  CAPABILITIES: 0x0010,
  /** The error bits, which software clears by writing one. */
  WRITE_ONE_TO_CLEAR: 0xf900,
} as const;

/** A base address register that a device decodes. */
export interface BarDescription {
  /** Which register, 0 to 5. */
  readonly index: number;
  /** Which address space it decodes. */
  readonly space: "io" | "memory";
  /** Size in bytes: a power of two, at least 4 for I/O and 16 for memory. */
  readonly size: number;
}

/** Where a BAR currently answers. */
export interface BarMapping extends BarDescription {
  /** First address, in the BAR's space. */
  readonly address: number;
}

/** What fixes a function's identity in its header. */
export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId?: number;
  /** Class, subclass and programming interface as one 24-bit number: 0x010000 is a SCSI controller. */
  readonly classCode: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** Bit 7 marks a multi-function device. @default {0} */
  readonly headerType?: number;
  /** 1 to 4 for INTA# to INTD#; 0 for a function without an interrupt. @default {0} */
  readonly interruptPin?: number;
}

/** An access width in bytes. */
export type AccessSize = 1 | 2 | 4;

/** All-ones of a width: what a read returns where nothing answers. */
export function allOnes(size: number): number {
  return size >= 4 ? 0xffffffff : 2 ** (8 * size) - 1;
}

/**
 * The configuration space of one function.
 *
 * An access is legal when its width is 1, 2 or 4 and all of it lies below 0x100, aligned or not. Others read as all-ones and
 * write nothing. Multi-byte values are little-endian.
 */
export class ConfigSpace {
  /** The 256 bytes; a device model may set them directly. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #writable = new Uint8Array(PciConfig.SIZE);
  readonly #clearable = new Uint8Array(PciConfig.SIZE);
  readonly #resetValue = new Uint8Array(PciConfig.SIZE);
  readonly #bars: BarDescription[] = [];
  readonly #attached: boolean;

  /**
   * @param bytes 256 bytes to keep the registers in. Give memory that several threads share when another instance
   * attaches to it. @default {new Uint8Array(256)}
   * @param options `attached`: the bytes are shared with other instances, or belong to a saved machine. Definitions then
   * leave them as they are, so that a thread which starts late does not undo what the guest has written; whoever owns the
   * machine calls {@linkcode ConfigSpace.reset} once. @default {{ attached: false }}
   */
  constructor(bytes: Uint8Array = new Uint8Array(PciConfig.SIZE), { attached = false } = {}) {
    if (bytes.length !== PciConfig.SIZE) throw new RangeError(`Config space has 256 bytes, not ${bytes.length}`);
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, PciConfig.SIZE);
    this.#attached = attached;
  }

  /** The BARs, in the order in which they were added. */
  get bars(): readonly BarDescription[] {
    return this.#bars;
  }

  /** Sets the header's fixed fields and the usual write masks of a type 0 function. */
  identify(identity: PciIdentity): void {
    this.define(PciConfig.VENDOR_ID, 2, identity.vendorId);
    this.define(PciConfig.DEVICE_ID, 2, identity.deviceId);
    this.define(PciConfig.REVISION_ID, 4, identity.classCode * 0x100 + (identity.revisionId ?? 0));
    this.define(PciConfig.HEADER_TYPE, 1, identity.headerType ?? 0);
    this.define(PciConfig.SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendorId ?? 0);
    this.define(PciConfig.SUBSYSTEM_ID, 2, identity.subsystemId ?? 0);
    this.define(PciConfig.INTERRUPT_PIN, 1, identity.interruptPin ?? 0);
    const command = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER | PciCommand.PARITY | PciCommand.SERR |
      PciCommand.INTX_DISABLE;
    this.define(PciConfig.COMMAND, 2, 0, command);
    this.define(PciConfig.STATUS, 2, 0, 0, PciStatus.WRITE_ONE_TO_CLEAR);
    this.define(PciConfig.CACHE_LINE_SIZE, 2, 0, 0xffff);
    this.define(PciConfig.INTERRUPT_LINE, 1, 0, 0xff);
  }

  /**
   * Defines a register: its reset value, and which bits software can write or clear by writing one.
   *
   * @throws {RangeError} when it does not fit the space.
   */
  define(offset: number, size: AccessSize, value: number, writable = 0, clearable = 0): void {
    if (!ConfigSpace.fits(offset, size)) throw new RangeError(`No ${size}-byte register fits at ${offset}`);
    for (let i = 0; i < size; i++) {
      this.#writable[offset + i] = writable >>> (8 * i);
      this.#clearable[offset + i] = clearable >>> (8 * i);
      this.#resetValue[offset + i] = value >>> (8 * i);
      if (!this.#attached) this.bytes[offset + i] = value >>> (8 * i);
    }
  }

  /**
   * Adds a 32-bit base address register (PCI 3.0, section 6.2.5.1); sizing by all-ones works from then on.
   *
   * @throws {RangeError} for an index outside 0..5 or taken, or a size that is no power of two or too small.
   */
  addBar(bar: BarDescription): void {
    const { index, space, size } = bar;
    if (!(index >= 0 && index <= 5) || this.#bars.some((other) => other.index === index)) {
      throw new RangeError(`BAR ${index} does not exist or is taken`);
    }
    if (size < (space === "io" ? 4 : 16) || size > 0x80000000 || !Number.isInteger(Math.log2(size))) {
      throw new RangeError(`A BAR in ${space} space cannot have ${size} bytes`);
    }
    this.#bars.push(bar);
    this.define(PciConfig.BAR0 + 4 * index, 4, space === "io" ? 1 : 0, 0x100000000 - size);
  }

  /** Whether an access is legal (see the class). */
  static fits(offset: number, size: number): size is AccessSize {
    return (size === 1 || size === 2 || size === 4) && Number.isInteger(offset) && offset >= 0 &&
      offset + size <= PciConfig.SIZE;
  }

  /** Reads `size` bytes at `offset`, zero-extended; all-ones for an illegal access. */
  read(offset: number, size: number): number {
    if (!ConfigSpace.fits(offset, size)) return allOnes(size);
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 0x100 + this.bytes[offset + i];
    return value;
  }

  /** Writes the writable bits of `size` bytes at `offset`; an illegal access does nothing. */
  write(offset: number, size: number, value: number): void {
    if (!ConfigSpace.fits(offset, size)) return;
    let result = 0;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const kept = (this.bytes[at] & ~this.#writable[at]) | (byte & this.#writable[at]);
      result |= (kept & ~(byte & this.#clearable[at])) << (8 * i);
    }
    this.set(offset, size, result);
  }

  /**
   * Sets a register whatever its mask says: the device's own way in. It is one store, so that who reads the bytes
   * meanwhile (see DeviceHost.shadow) does not find half of an address.
   */
  set(offset: number, size: AccessSize, value: number): void {
    if (size === 4) this.#view.setUint32(offset, value, true);
    else if (size === 2) this.#view.setUint16(offset, value, true);
    else this.#view.setUint8(offset, value);
  }

  /** Puts every register back to the value that it was defined with. */
  reset(): void {
    this.bytes.set(this.#resetValue);
  }

  /** The command register. */
  get command(): number {
    return this.bytes[PciConfig.COMMAND] | (this.bytes[PciConfig.COMMAND + 1] << 8);
  }

  /**
   * Where the BARs answer now: only those whose space the command register enables, at an address that software has
   * programmed. Zero is not an address, nor is the top of memory space.
   */
  mappings(): BarMapping[] {
    const mapped: BarMapping[] = [];
    for (const bar of this.#bars) {
      const enabled = bar.space === "io" ? PciCommand.IO : PciCommand.MEMORY;
      if ((this.command & enabled) === 0) continue;
      const raw = this.read(PciConfig.BAR0 + 4 * bar.index, 4);
      const address = (bar.space === "io" ? raw & ~3 : raw & ~15) >>> 0;
      const limit = bar.space === "io" ? 0x10000 : 0x100000000;
      // The last memory address is what sizing leaves behind for a moment; in I/O space a BAR can be programmed there.
      const end = address + bar.size;
      if (address !== 0 && (bar.space === "io" ? end <= limit : end < limit)) mapped.push({ ...bar, address });
    }
    return mapped;
  }
}
