/**
 * The host's side of one PCI function: decodes configuration and BAR accesses for the device model, and stands between
 * it and guest RAM, its interrupt line and the log.
 *
 * @module
 */
import {
  type AccessSize,
  allOnes,
  type BarMapping,
  ConfigSpace,
  PciCommand,
  PciConfig,
  PciStatus,
} from "../device/config_space.ts";
import type { Dma } from "../device/guest_memory.ts";
import type { Clock, DeviceHost, InterruptPin, PciDevice, ShadowedRegisters } from "../device/pci_device.ts";
import type { RingTarget } from "../link/ring/consumer.ts";
import { Space } from "../link/ring/layout.ts";
import { RegisterShadow } from "./register_shadow.ts";

/** A value of up to 64 bits in two unsigned halves. */
export interface Halves {
  low: number;
  high: number;
}

/** What a {@linkcode PciHost} connects its device to. */
export interface PciHostOptions {
  /** Guest RAM. */
  readonly memory: Dma;
  /** Where the interrupt pin leads. */
  readonly line: InterruptPin;
  readonly clock: Clock;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** How many distinct warnings are kept; a guest may put numbers of its choice into them. */
const MAX_WARNINGS = 32;

/** Registers that decide where BARs answer: the command register, and BARs 0 to 5. */
const BARS_END = PciConfig.BAR0 + 24;

function decides(offset: number, size: number): boolean {
  const end = offset + size;
  return (offset < PciConfig.COMMAND + 2 && end > PciConfig.COMMAND) || (offset < BARS_END && end > PciConfig.BAR0);
}

/**
 * Hosts one device. It is the device's {@linkcode DeviceHost}, so it is there before the device is: make it, make the
 * device with it, and {@linkcode PciHost.attach} that. Until then DMA is refused, and nothing may be accessed.
 */
export class PciHost implements DeviceHost, RingTarget {
  readonly dma: Dma;
  readonly interrupt: InterruptPin = { set: (asserted) => this.#setPin(asserted) };
  readonly clock: Clock;
  /** What the device has declared by {@linkcode PciHost.shadow}. */
  readonly registers: RegisterShadow = new RegisterShadow();

  readonly #line: InterruptPin;
  readonly #log: (line: string) => void;
  readonly #warned = new Set<string>();
  #device: PciDevice | undefined;
  #mappings: readonly BarMapping[] = [];
  /** A bit for each BAR that answers. */
  #answering = 0;
  #pin = false;

  constructor({ memory, line, clock, log }: PciHostOptions) {
    this.#line = line;
    this.clock = clock;
    this.#log = log;
    this.dma = {
      read: (address, into) => this.#permit() && this.#noting(memory.read(address, into)),
      write: (address, from) => this.#permit() && this.#noting(memory.write(address, from)),
    };
  }

  shadow(size: number, ranges: readonly ShadowedRegisters[]): Uint8Array {
    if (this.#device !== undefined) throw new TypeError("A device asked for a shadow after it was made");
    return this.registers.allocate(size, ranges);
  }

  /** Puts the device in its place. @throws {TypeError} when it has declared a shadow that it cannot have. */
  attach(device: PciDevice): void {
    this.#device = device;
    this.registers.check(this.spaces);
    this.#decode();
  }

  /** The size in bytes of each {@linkcode Space}, 0 for a BAR that the device does not have. */
  get spaces(): readonly number[] {
    const sizes: number[] = new Array(Space.COUNT).fill(0);
    sizes[Space.CONFIG] = PciConfig.SIZE;
    for (const { index, size } of this.#attached.config.bars) sizes[Space.BAR0 + index] = size;
    return sizes;
  }

  /** Reads a {@linkcode Space} at an offset within it. @returns the value; all-ones from a BAR that does not answer. */
  load(space: number, offset: number, size: AccessSize): number {
    if (space === Space.CONFIG) return this.#attached.config.read(offset, size);
    return this.#answers(space) ? this.#attached.readBar(space - Space.BAR0, offset, size) : allOnes(size);
  }

  /** Writes a {@linkcode Space} at an offset within it. Nothing is done for a BAR that does not answer. */
  store(space: number, offset: number, size: AccessSize, value: number): void {
    if (space === Space.CONFIG) this.writeConfig(offset, size, value);
    else if (this.#answers(space)) this.#attached.writeBar(space - Space.BAR0, offset, size, value);
  }

  /**
   * Reads configuration space.
   *
   * @returns the value, zero-extended; `undefined` when the access does not lie in the 256 bytes as a whole.
   */
  readConfig(offset: number, size: number): number | undefined {
    return ConfigSpace.fits(offset, size) ? this.#attached.config.read(offset, size) : undefined;
  }

  /** Writes configuration space. @returns false, with nothing done, when the access does not lie in it as a whole. */
  writeConfig(offset: number, size: number, value: number): boolean {
    if (!ConfigSpace.fits(offset, size)) return false;
    const device = this.#attached;
    device.config.write(offset, size, value);
    device.configWritten?.(offset, size);
    if (decides(offset, size)) this.#decode();
    return true;
  }

  /**
   * Reads `size` bytes (1, 2, 4 or 8) at an address of PCI memory or I/O space.
   *
   * @returns false, and all-ones, when no BAR answers for all of them.
   */
  readBar(address: number, size: number, memory: boolean, into: Halves): boolean {
    const bar = this.#find(address, size, memory);
    if (bar === undefined) {
      into.low = into.high = 0xffffffff;
      return false;
    }
    const offset = address - bar.address;
    const device = this.#attached;
    into.low = device.readBar(bar.index, offset, Math.min(size, 4) as AccessSize) >>> 0;
    into.high = size === 8 ? device.readBar(bar.index, offset + 4, 4) >>> 0 : 0;
    return true;
  }

  /** Writes `size` bytes (1, 2, 4 or 8). @returns false, with nothing done, when no BAR answers for all of them. */
  writeBar(address: number, size: number, memory: boolean, low: number, high: number): boolean {
    const bar = this.#find(address, size, memory);
    if (bar === undefined) return false;
    const offset = address - bar.address;
    const device = this.#attached;
    const value = size === 1 ? low & 0xff : size === 2 ? low & 0xffff : low;
    device.writeBar(bar.index, offset, Math.min(size, 4) as AccessSize, value);
    if (size === 8) device.writeBar(bar.index, offset + 4, 4, high);
    return true;
  }

  /** Power-on state: the device's own, its BARs unmapped, its pin low. */
  reset(): void {
    this.#attached.reset();
    this.#setPin(false);
    this.#decode();
  }

  /**
   * The device stands in for one that was lost. To a guest that has not enabled it, it is as good as the lost one: it may have no driver, and
   * an interrupt would find nobody.
   */
  restarted(): void {
    const device = this.#attached;
    const inUse = (device.config.command & PciCommand.MASTER) !== 0 && this.#mappings.length > 0;
    if (inUse) device.restarted?.();
  }

  /** Takes the shadow away. The device, which is closed, is not called afterwards. Calling it again does nothing. */
  close(): void {
    this.#device = undefined;
    this.registers.close();
  }

  warnOnce(what: string): void {
    if (this.#warned.has(what) || this.#warned.size > MAX_WARNINGS) return;
    this.#warned.add(what);
    this.#log(this.#warned.size > MAX_WARNINGS ? "more has been odd; no further warnings" : what);
  }

  get #attached(): PciDevice {
    if (this.#device === undefined) throw new TypeError("A PCI host was used before its device was attached");
    return this.#device;
  }

  #answers(space: number): boolean {
    return (this.#answering & (1 << (space - Space.BAR0))) !== 0;
  }

  #find(address: number, size: number, memory: boolean): BarMapping | undefined {
    for (const bar of this.#mappings) {
      if ((bar.space === "memory") !== memory) continue;
      if (address >= bar.address && address + size <= bar.address + bar.size) return bar;
    }
    return undefined;
  }

  /** What depends on the command register and the BARs. */
  #decode(): void {
    this.#mappings = this.#attached.config.mappings();
    this.#answering = this.#mappings.reduce((bits, { index }) => bits | (1 << index), 0);
    this.#drive();
  }

  #setPin(asserted: boolean): void {
    this.#pin = asserted;
    this.#drive();
  }

  /**
   * The pin shows in the status register at all times, and on the line unless the guest has disabled it (PCI 3.0,
   * 6.2.2).
   */
  #drive(): void {
    const config = this.#device?.config;
    if (config === undefined) return this.#line.set(this.#pin);
    const status = config.bytes[PciConfig.STATUS] & ~PciStatus.INTERRUPT;
    config.bytes[PciConfig.STATUS] = this.#pin ? status | PciStatus.INTERRUPT : status;
    this.#line.set(this.#pin && (config.command & PciCommand.INTX_DISABLE) === 0);
  }

  #permit(): boolean {
    if (this.#device !== undefined && (this.#device.config.command & PciCommand.MASTER) !== 0) return true;
    this.warnOnce("DMA while the guest has bus mastering off was refused");
    return false;
  }

  #noting(done: boolean): boolean {
    if (!done) this.warnOnce("DMA outside the guest's RAM was refused");
    return done;
  }
}
