/**
 * splitvm's public API: write a PCI device in one file, and serve it to any VMM that speaks the multi-process QEMU protocol.
 *
 * A device is a {@linkcode PciDevice}. It sees offsets into its BARs, guest RAM, one interrupt pin and a clock, and nothing of
 * processes, sockets or KVM.
 *
 * ```ts
 * import { ConfigSpace, type PciDevice, registerDevice, RemoteMachine } from "./mod.ts";
 *
 * class Counter implements PciDevice {
 *   readonly config = new ConfigSpace();
 *   #count = 0;
 *   constructor() {
 *     this.config.identify({ vendorId: 0x1234, deviceId: 0x11e9, classCode: 0xff0000 });
 *     this.config.addBar({ index: 0, space: "memory", size: 16 });
 *   }
 *   readBar = () => this.#count++;
 *   writeBar(_bar: number, _offset: number, _size: number, value: number) {
 *     this.#count = value;
 *   }
 *   reset() {
 *     this.config.reset();
 *     this.#count = 0;
 *   }
 *   save = () => [];
 *   restore() {}
 * }
 *
 * registerDevice("counter", () => new Counter());
 * const machine = new RemoteMachine(console.error);
 * machine.add({ id: "link0", fd: 3, device: { driver: "counter", id: "counter0" } });
 * while (machine.size > 0) machine.turn();
 * ```
 *
 * @module
 */
export {
  type AccessSize,
  allOnes,
  type BarDescription,
  type BarMapping,
  ConfigSpace,
  PciCommand,
  PciConfig,
  type PciIdentity,
  PciStatus,
} from "./src/device/config_space.ts";
export { type Dma, GuestMemory, type MemoryRegion } from "./src/device/guest_memory.ts";
export type { Clock, DeviceHost, InterruptPin, PciDevice, Timer } from "./src/device/pci_device.ts";
export {
  bytes,
  type BytesField,
  defineState,
  type SavedState,
  type ScalarField,
  type StateFields,
  type StateLayout,
  type StateRecord,
  type StateValues,
} from "./src/device/state.ts";
export {
  type DeviceConfig,
  type DeviceFactory,
  type DeviceResources,
  deviceTypes,
  registerDevice,
} from "./src/remote/devices.ts";
export { RemoteMachine } from "./src/remote/remote_machine.ts";
