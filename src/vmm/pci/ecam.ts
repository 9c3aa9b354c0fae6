/**
 * The enhanced configuration access mechanism: configuration space as memory (PCI Express Base 2.1, section 7.2.2).
 *
 * Each function has 4 KiB at bus × 1 MiB + slot × 32 KiB + function × 4 KiB from the base that the host bridge's
 * PCIEXBAR holds.
 *
 * @module
 */
import type { BusDevice } from "../platform/platform.ts";
import type { PciBus } from "./pci_bus.ts";

/** Makes the device that answers in the PCIEXBAR range of a bus. */
export function createEcam(pci: PciBus): BusDevice {
  return {
    read: (offset, size) => pci.read(offset >>> 20, (offset >>> 12) & 0xff, offset & 0xfff, size),
    write: (offset, size, value) => pci.write(offset >>> 20, (offset >>> 12) & 0xff, offset & 0xfff, size, value),
  };
}
