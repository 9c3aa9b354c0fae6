/**
 * Accesses by messages over the link's socket, each of them with a reply: what every peer understands, stock QEMU's remote included.
 *
 * @module
 */
import {
  type AccessSize,
  allOnes,
  type BarDescription,
  type ConfigSpace,
  PciCommand,
  PciConfig,
} from "../device/config_space.ts";
import { monotonicNow } from "../ffi/clock.ts";
import type { Channel } from "../link/channel.ts";
import type { SystemMemoryRegion } from "../link/message.ts";
import { narrowed } from "../link/ring/layout.ts";
import type { DeviceAccess } from "./device_access.ts";

/**
 * For how long after the start a peer may lose what the guest has configured, in nanoseconds. QEMU's remote process answers on its link
 * before it resets its devices for the first time.
 */
const SETTLING_TIME = 5e9;

/** What a {@linkcode WireAccess} needs. */
export interface WireAccessOptions {
  readonly channel: Channel;
  /** The header as the guest has written it. */
  readonly header: ConfigSpace;
  readonly bars: readonly BarDescription[];
  /** When the link was made, in nanoseconds of CLOCK_MONOTONIC. */
  readonly connectedAt: number;
  /** How long the device may take to answer, in milliseconds. */
  readonly timeout: number;
}

/** See the module. Every call is made under the machine's lock: the link carries one request at a time. */
export class WireAccess implements DeviceAccess {
  readonly #channel: Channel;
  readonly #header: ConfigSpace;
  readonly #bars: readonly BarDescription[];
  readonly #connectedAt: number;
  readonly #timeout: number;
  /** Whether the device has been seen to answer at a BAR, or has been given its configuration again: it keeps it from now on. */
  #settled = false;

  constructor({ channel, header, bars, connectedAt, timeout }: WireAccessOptions) {
    this.#channel = channel;
    this.#header = header;
    this.#bars = bars;
    this.#connectedAt = connectedAt;
    this.#timeout = timeout;
  }

  readConfig(offset: number, size: AccessSize): number {
    this.#channel.outgoing.setConfigRead(offset, size);
    return narrowed(this.#call(), size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.#channel.outgoing.setConfigWrite(offset, size, value);
    this.#call();
  }

  readBar(bar: BarDescription, offset: number, size: AccessSize): number {
    const value = this.#readBar(bar, offset, size);
    if (value !== allOnes(size)) this.#settled = true;
    else if (this.#restoreHeader()) return this.#readBar(bar, offset, size);
    return value;
  }

  writeBar(bar: BarDescription, offset: number, size: AccessSize, value: number): void {
    const address = this.#address(bar);
    if (address === undefined) return;
    this.#restoreHeader();
    this.#channel.outgoing.setBarWrite(address + offset, size, bar.space === "memory", value);
    this.#call();
  }

  reset(): void {
    this.#channel.outgoing.setDeviceReset();
    this.#call();
  }

  syncMemory(regions: readonly SystemMemoryRegion[], fd: number): void {
    this.#channel.outgoing.setSyncSysmem(regions);
    this.#channel.send(this.#channel.outgoing, regions.map(() => fd), this.#timeout);
  }

  #readBar(bar: BarDescription, offset: number, size: AccessSize): number {
    const address = this.#address(bar);
    if (address === undefined) return allOnes(size);
    this.#channel.outgoing.setBarRead(address + offset, size, bar.space === "memory");
    return narrowed(this.#call(), size);
  }

  #address({ index }: BarDescription): number | undefined {
    return this.#header.mappings().find((mapped) => mapped.index === index)?.address;
  }

  /**
   * Gives a peer that has forgotten its BARs what the guest had written there.
   *
   * @returns whether it had to.
   */
  #restoreHeader(): boolean {
    if (this.#settled) return false;
    if (monotonicNow() - this.#connectedAt > SETTLING_TIME) {
      this.#settled = true;
      return false;
    }
    const decoding = PciCommand.IO | PciCommand.MEMORY;
    if ((this.readConfig(PciConfig.COMMAND, 2) & decoding) === (this.#header.command & decoding)) return false;
    for (const { index } of this.#bars) this.#replay(PciConfig.BAR0 + 4 * index, 4);
    this.#replay(PciConfig.INTERRUPT_LINE, 1);
    this.#replay(PciConfig.COMMAND, 2);
    this.#settled = true;
    return true;
  }

  #replay(offset: number, size: AccessSize): void {
    this.writeConfig(offset, size, this.#header.read(offset, size));
  }

  /** Sends {@linkcode Channel.outgoing} and waits for the reply. @returns the lower half of its value. */
  #call(): number {
    this.#channel.call(this.#channel.outgoing, this.#timeout);
    return this.#channel.incoming.returnLow;
  }
}
