/**
 * PCI bus 0: 32 slots of 8 functions, and how a configuration access finds one.
 *
 * There are no bridges to further buses: an access to any other bus, or to a function that is not there, ends in a
 * master abort, which reads as all-ones (PCI Local Bus Specification 3.0, section 6.1).
 *
 * @module
 */
import { type AccessSize, allOnes, ConfigSpace } from "../../device/config_space.ts";

/** The configuration space of a function, wherever the function itself is: in this process or behind a link. */
export interface PciFunction {
  /** Reads 1, 2 or 4 bytes that lie below 0x100 as a whole, aligned or not; little-endian, unsigned. */
  readConfig(offset: number, size: AccessSize): number;
  /** Writes 1, 2 or 4 bytes that lie below 0x100 as a whole. */
  writeConfig(offset: number, size: AccessSize, value: number): void;
}

/** Slot (device number, 0 to 31) and function (0 to 7) on a bus. */
export interface PciAddress {
  readonly slot: number;
  readonly fn: number;
}

const SLOT_COUNT = 32;
const FUNCTION_COUNT = 8;

/**
 * Parses the `addr=` property of a PCI device: `slot` or `slot.function`, both hexadecimal, with or without `0x`.
 *
 * @throws {RangeError} when it is not of that form or out of range.
 */
export function parsePciAddress(text: string): PciAddress {
  const match = /^(?:0x)?([0-9a-f]{1,2})(?:\.([0-7]))?$/i.exec(text);
  const slot = parseInt(match?.[1] ?? "", 16);
  if (match === null || slot >= SLOT_COUNT) {
    throw new RangeError(`"${text}" is no PCI address: expected slot.function, slot 0 to 1f and function 0 to 7`);
  }
  return { slot, fn: Number(match[2] ?? 0) };
}

/** Writes an address as `lspci` does: `05.0`. */
export function formatPciAddress({ slot, fn }: PciAddress): string {
  return `${slot.toString(16).padStart(2, "0")}.${fn}`;
}

/** The functions on bus 0. */
export class PciBus {
  /** By device and function number (slot × 8 + function). */
  readonly #functions: (PciFunction | undefined)[] = new Array(SLOT_COUNT * FUNCTION_COUNT).fill(undefined);

  /**
   * Puts a function into a slot.
   *
   * @throws {RangeError} when the address does not exist or is taken.
   */
  attach(address: PciAddress, pciFunction: PciFunction): void {
    const index = this.#index(address);
    if (this.#functions[index] !== undefined) {
      throw new RangeError(`PCI address ${formatPciAddress(address)} is taken`);
    }
    this.#functions[index] = pciFunction;
  }

  /** Empties an address. @throws {RangeError} when it does not exist. */
  detach(address: PciAddress): void {
    this.#functions[this.#index(address)] = undefined;
  }

  /** What is at an address. @throws {RangeError} when it does not exist. */
  at(address: PciAddress): PciFunction | undefined {
    return this.#functions[this.#index(address)];
  }

  /** The lowest slot from 1 up in which no function is, or `undefined` when the bus is full. */
  freeSlot(): number | undefined {
    for (let slot = 1; slot < SLOT_COUNT; slot++) {
      const first = slot * FUNCTION_COUNT;
      if (this.#functions.slice(first, first + FUNCTION_COUNT).every((f) => f === undefined)) return slot;
    }
    return undefined;
  }

  /**
   * A configuration read from the guest.
   *
   * @param bus Bus number, 0 to 255.
   * @param devfn Slot × 8 + function, 0 to 255.
   * @param offset Offset in configuration space. From 0x100 on, all-ones: these are conventional functions, and a
   * bridge answers for them with Unsupported Request when the extended register number is not zero (PCI Express Base
   * 2.1, section 7.2.2).
   */
  read(bus: number, devfn: number, offset: number, size: number): number {
    const target = bus === 0 ? this.#functions[devfn] : undefined;
    if (target === undefined || !ConfigSpace.fits(offset, size)) return allOnes(size);
    return target.readConfig(offset, size);
  }

  /** A configuration write from the guest; the parameters are those of {@linkcode PciBus.read}. */
  write(bus: number, devfn: number, offset: number, size: number, value: number): void {
    const target = bus === 0 ? this.#functions[devfn] : undefined;
    if (target !== undefined && ConfigSpace.fits(offset, size)) target.writeConfig(offset, size, value);
  }

  #index({ slot, fn }: PciAddress): number {
    const exists = Number.isInteger(slot) && slot >= 0 && slot < SLOT_COUNT && Number.isInteger(fn) && fn >= 0 &&
      fn < FUNCTION_COUNT;
    if (!exists) throw new RangeError(`There is no PCI slot ${slot} with a function ${fn}`);
    return slot * FUNCTION_COUNT + fn;
  }
}
