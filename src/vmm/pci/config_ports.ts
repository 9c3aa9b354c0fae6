/**
 * PCI configuration mechanism #1: CONFIG_ADDRESS at port 0xcf8 and CONFIG_DATA at 0xcfc (PCI Local Bus Specification
 * 3.0, section 3.2.2.3.2; MCH, section 4.6).
 *
 * Only a 4-byte access to 0xcf8 reaches CONFIG_ADDRESS. Narrower ones pass on to the ISA side, where the only thing
 * that answers is the reset control register, the byte at 0xcf9.
 *
 * @module
 */
import { allOnes } from "../../device/config_space.ts";
import { defineState } from "../../device/state.ts";
import { Port } from "../layout.ts";
import type { BusDevice } from "../platform/platform.ts";
import type { PciBus } from "./pci_bus.ts";

/** The register of mechanism #1, which all CPUs share. */
export const ConfigPortsState = defineState("pci-config-ports", 1, { address: "u32" });

/** Fields of CONFIG_ADDRESS. */
const Address = {
  ENABLE: 0x8000_0000,
  BUS_SHIFT: 16,
  DEVFN_SHIFT: 8,
  REGISTER: 0xfc,
  /** The bits that exist: 30-24 and 1-0 are reserved and read as 0. */
  MASK: 0x80ff_fffc,
} as const;

/** Offsets from {@linkcode Port.CONFIG_ADDRESS}. */
const RESET_CONTROL = Port.RESET_CONTROL - Port.CONFIG_ADDRESS;
const DATA = Port.CONFIG_DATA - Port.CONFIG_ADDRESS;

/** What {@linkcode ConfigPorts} needs. */
export interface ConfigPortsOptions {
  readonly pci: PciBus;
  readonly state: ReturnType<typeof ConfigPortsState.attach>;
  /** Answers byte accesses to 0xcf9. */
  readonly resetControl: BusDevice;
}

/** Ports 0xcf8 to 0xcff. */
export class ConfigPorts implements BusDevice {
  readonly #pci: PciBus;
  readonly #state: ConfigPortsOptions["state"];
  readonly #resetControl: BusDevice;

  constructor({ pci, state, resetControl }: ConfigPortsOptions) {
    this.#pci = pci;
    this.#state = state;
    this.#resetControl = resetControl;
  }

  read(offset: number, size: number): number {
    if (offset === 0 && size === 4) return this.#state.address;
    if (offset === RESET_CONTROL && size === 1) return this.#resetControl.read(0, 1);
    const { address } = this.#state;
    if (offset < DATA || (address & Address.ENABLE) === 0) return allOnes(size);
    return this.#pci.read(...target(address, offset), size);
  }

  write(offset: number, size: number, value: number): void {
    if (offset === 0 && size === 4) this.#state.address = value & Address.MASK;
    else if (offset === RESET_CONTROL && size === 1) this.#resetControl.write(0, 1, value);
    const { address } = this.#state;
    if (offset < DATA || (address & Address.ENABLE) === 0) return;
    this.#pci.write(...target(address, offset), size, value);
  }

  /** Machine reset. */
  reset(): void {
    this.#state.address = 0;
  }
}

/** Bus, device-and-function and register that a CONFIG_DATA access at `offset` means. */
function target(address: number, offset: number): [bus: number, devfn: number, register: number] {
  return [
    (address >>> Address.BUS_SHIFT) & 0xff,
    (address >>> Address.DEVFN_SHIFT) & 0xff,
    (address & Address.REGISTER) | (offset & 3),
  ];
}
