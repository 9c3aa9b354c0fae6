/**
 * A PCI device for tests of what hosts one: registers that do one simple thing each.
 *
 * @module
 */
import { type AccessSize, ConfigSpace } from "../../src/device/config_space.ts";
import type { DeviceHost, PciDevice } from "../../src/device/pci_device.ts";
import type { SavedState } from "../../src/device/state.ts";

/** What identifies it. */
export const TestDeviceId = { VENDOR: 0x1b36, DEVICE: 0x5eed } as const;

/** Its BARs. */
export const TestBar = { IO: 0, MEMORY: 1, IO_SIZE: 0x100, MEMORY_SIZE: 0x1000 } as const;

/** How many bytes of the memory BAR lie in a shadow, from its start. So does configuration space. */
export const SHADOWED = 0x40;

/** Registers of the memory BAR, 4 bytes each; those below are scratch memory, as is the I/O BAR. */
export const TestRegister = {
  /** Bit 0 is the level of the interrupt pin. */
  PIN: 0x100,
  /** Guest-physical address for DMA. */
  DMA_ADDRESS: 0x104,
  /**
   * A write copies 16 bytes: 1 from the guest to scratch 0x00, 2 from there to the guest. Reads as 1 where that was
   * done.
   */
  DMA_START: 0x108,
  /** A write sets the timer to `now()`, that many times (at most 1000), one after the other. */
  TICKS: 0x10c,
  /** How many timer callbacks there have been. */
  TICKED: 0x110,
} as const;

const MOST_TICKS = 1000;

/** One access, as the device saw it. */
export type SeenAccess = [kind: "read" | "write", bar: number, offset: number, size: number, value: number];

/** See the module. */
export class TestDevice implements PciDevice {
  readonly config: ConfigSpace;
  /** BAR accesses since the test last emptied it. */
  readonly seen: SeenAccess[] = [];
  resets = 0;
  restarts = 0;
  closed = 0;
  readonly #host: DeviceHost;
  /** By BAR. */
  readonly #spaces: readonly DataView[];
  readonly #timer;

  constructor(host: DeviceHost) {
    this.#host = host;
    this.config = new ConfigSpace(host.shadow(0x100, [{ bar: "config", offset: 0, length: 0x100, at: 0 }]));
    const shadowed = { bar: TestBar.MEMORY, offset: 0, length: SHADOWED, at: 0 };
    this.#spaces = [new Uint8Array(TestBar.IO_SIZE), host.shadow(TestBar.MEMORY_SIZE, [shadowed])].map(viewOf);
    this.config.identify({
      vendorId: TestDeviceId.VENDOR,
      deviceId: TestDeviceId.DEVICE,
      classCode: 0xff0000,
      interruptPin: 1,
    });
    this.config.addBar({ index: TestBar.IO, space: "io", size: TestBar.IO_SIZE });
    this.config.addBar({ index: TestBar.MEMORY, space: "memory", size: TestBar.MEMORY_SIZE });
    this.#timer = host.clock.timer(() => this.#tick());
  }

  readBar(bar: number, offset: number, size: AccessSize): number {
    const value = new DataView(new ArrayBuffer(4));
    for (let i = 0; i < size; i++) value.setUint8(i, this.#spaces[bar].getUint8(offset + i));
    this.seen.push(["read", bar, offset, size, value.getUint32(0, true)]);
    return value.getUint32(0, true);
  }

  writeBar(bar: number, offset: number, size: AccessSize, value: number): void {
    this.seen.push(["write", bar, offset, size, value]);
    for (let i = 0; i < size; i++) this.#spaces[bar].setUint8(offset + i, value >>> (8 * i));
    if (bar !== TestBar.MEMORY) return;
    if (offset === TestRegister.PIN) this.#host.interrupt.set((value & 1) !== 0);
    if (offset === TestRegister.DMA_START) this.#register(TestRegister.DMA_START, this.#transfer(value) ? 1 : 0);
    if (offset === TestRegister.TICKS) this.#timer.arm(this.#host.clock.now());
  }

  restarted(): void {
    this.restarts++;
  }

  reset(): void {
    this.resets++;
    this.config.reset();
    this.#timer.cancel();
    this.#host.interrupt.set(false);
    for (const space of this.#spaces) bytesOf(space).fill(0);
  }

  save(): SavedState[] {
    return [];
  }

  restore(): void {}

  close(): void {
    this.closed++;
  }

  #transfer(direction: number): boolean {
    const address = this.#spaces[TestBar.MEMORY].getUint32(TestRegister.DMA_ADDRESS, true);
    const scratch = bytesOf(this.#spaces[TestBar.MEMORY]).subarray(0, 16);
    return direction === 1 ? this.#host.dma.read(address, scratch) : this.#host.dma.write(address, scratch);
  }

  #tick(): void {
    const registers = this.#spaces[TestBar.MEMORY];
    this.#register(TestRegister.TICKED, registers.getUint32(TestRegister.TICKED, true) + 1);
    const left = Math.min(registers.getUint32(TestRegister.TICKS, true), MOST_TICKS) - 1;
    this.#register(TestRegister.TICKS, left);
    if (left > 0) this.#timer.arm(this.#host.clock.now());
  }

  #register(offset: number, value: number): void {
    this.#spaces[TestBar.MEMORY].setUint32(offset, value, true);
  }
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

function bytesOf({ buffer, byteOffset, byteLength }: DataView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
