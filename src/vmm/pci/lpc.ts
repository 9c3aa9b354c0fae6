/**
 * The ICH9's LPC bridge at 00:1f.0, 8086:2918 (ICH9, chapter "LPC Interface Bridge Registers (D31:F0)"), and its root
 * complex register block (ICH9, chapter "Chipset Configuration Registers").
 *
 * | offset      | register         | here                                                              |
 * | ----------- | ---------------- | ----------------------------------------------------------------- |
 * | 0x40        | PMBASE           | base of the power management block                                |
 * | 0x44        | ACPI_CNTL        | switches that block on, and chooses the SCI's GSI                 |
 * | 0x60 - 0x63 | PIRQ[A-D]_ROUT   | ISA IRQ that a PIRQ is steered to, see `intx_routing.ts`          |
 * | 0x64        | SIRQ_CNTL        | can be read back                                                  |
 * | 0x68 - 0x6b | PIRQ[E-H]_ROUT   | as above                                                          |
 * | 0x82        | LPC_EN           | read-only: says which legacy devices there are                    |
 * | 0xa0        | GEN_PMCON_1      | SMI_LOCK and the like can be read back; there are no SMIs to lock |
 * | 0xf0        | RCBA             | base and enable of the root complex register block                |
 *
 * In the root complex register block, the DxxIR registers wire the interrupt pins of slots 25 to 29 and 31 to PIRQs.
 * Real ICH9s have functions in those slots only; here a device can be in any, and as on QEMU's q35 (whose _PRT guests
 * may have been installed with) pin p of slot s ≤ 24 is wired to PIRQ E + (s + p) mod 4, and slot 30 has the fixed
 * order PIRQE to PIRQH.
 *
 * @module
 */
import { type AccessSize, ConfigSpace, PciCommand, PciConfig } from "../../device/config_space.ts";
import { bytes, defineState } from "../../device/state.ts";
import type { AddressRange, MappingGeneration } from "../bus.ts";
import { Gsi, MmioLayout, PortCount } from "../layout.ts";
import { readByteWise, writeByteWise } from "../platform/byte_access.ts";
import type { BusDevice } from "../platform/platform.ts";
import { QEMU_SUBSYSTEM } from "./host_bridge.ts";
import type { IntxPin, PirqSource } from "./intx_router.ts";
import { decodePirqRout } from "./intx_routing.ts";
import type { PciFunction } from "./pci_bus.ts";

/** Offsets in the LPC bridge's configuration space. */
export const LpcRegister = {
  PMBASE: 0x40,
  ACPI_CNTL: 0x44,
  PIRQA_ROUT: 0x60,
  SIRQ_CNTL: 0x64,
  PIRQE_ROUT: 0x68,
  LPC_EN: 0x82,
  GEN_PMCON_1: 0xa0,
  RCBA: 0xf0,
} as const;
const Register = LpcRegister;

/** PMBASE: bits 15:7 are the address; bit 0 says "I/O space" and is hardwired. */
export const Pmbase = { ADDRESS: 0xff80, INDICATOR: 1 } as const;

/** ACPI_CNTL. */
export const AcpiCntl = { ENABLE: 0x80, SCI_IRQ_SEL: 0x07 } as const;

/** SCI_IRQ_SEL → GSI; the other encodings are reserved. */
const SCI_GSI: readonly (number | undefined)[] = [Gsi.SCI, 10, 11, undefined, 20, 21];

/** PIRQx_ROUT: bit 7 switches the steering off, bits 3:0 name the ISA IRQ. */
const PirqRout = { DISABLED: 0x80, MASK: 0x8f } as const;

/** LPC_EN: COM1 and the keyboard controller are decoded. */
const LPC_EN_VALUE = 0x0401;

/** GEN_PMCON_1: the fields that software can write; SMI_LOCK stays set until reset. */
const GenPmcon1 = { BIOS_PCI_EXP_EN: 0x400, SMI_LOCK: 0x10, PER_SMI_SEL: 0x3 } as const;

const SIRQ_CNTL = { RESET: 0x10, MASK: 0xff } as const;

/** RCBA: bits 31:14 are the address. */
export const Rcba = { ADDRESS: 0xffff_c000, ENABLE: 1 } as const;

/** Offsets in the root complex register block. */
const Rcrb = {
  /** D31IR to D25IR, 16 bits each. */
  ROUTES: 0x3140,
  ROUTES_SIZE: 0x12,
  /** General control and status: NO_REBOOT tells drivers that the watchdog cannot reboot. */
  GCS: 0x3410,
  GCS_NO_REBOOT: 0x20,
} as const;

/** Offset of a slot's DxxIR from {@linkcode Rcrb.ROUTES}. */
const ROUTE_OFFSET: Readonly<Record<number, number>> = { 31: 0x0, 29: 0x4, 28: 0x6, 27: 0x8, 26: 0xc, 25: 0x10 };

/** INTA# to INTD# at PIRQA# to PIRQD#, four bits each of which three exist. */
const ROUTE_RESET = 0x3210;
const ROUTE_MASK = 0x77;

const PIRQ_E = 4;

/** Registers of the LPC bridge. */
export const LpcState = defineState("ich9-lpc", 1, {
  config: bytes(PciConfig.SIZE),
  /** The DxxIR registers, as they lie from {@linkcode Rcrb.ROUTES} on. */
  routes: bytes(Rcrb.ROUTES_SIZE),
});

/** What {@linkcode LpcBridge} needs. */
export interface LpcBridgeOptions {
  readonly state: ReturnType<typeof LpcState.attach>;
  /** Told when PMBASE, ACPI_CNTL or RCBA changes. */
  readonly generation: MappingGeneration;
}

/** What is told about changes; set after construction, because these devices need the bridge themselves. */
export interface LpcListeners {
  /** The interrupt routing may have changed. */
  pirqChanged(): void;
  /** The SCI may have another GSI, or none. */
  sciChanged(): void;
}

/** The function at 00:1f.0. */
export class LpcBridge implements PciFunction, PirqSource {
  /** The root complex register block, to be placed at {@linkcode rcrbRange}. */
  readonly rcrb: BusDevice;
  readonly #config: ConfigSpace;
  readonly #routes: Uint8Array;
  readonly #generation: MappingGeneration;
  #listeners: LpcListeners | undefined;

  constructor({ state, generation }: LpcBridgeOptions) {
    this.#config = new ConfigSpace(state.config, { attached: true });
    this.#routes = state.routes;
    this.#generation = generation;
    this.#define();
    this.rcrb = {
      read: (offset, size) => readByteWise(offset, size, (at) => this.#readRcrb(at)),
      write: (offset, size, value) => {
        writeByteWise(offset, size, value, (at, byte) => this.#writeRcrb(at, byte));
        this.#listeners?.pirqChanged();
      },
    };
  }

  #define(): void {
    const config = this.#config;
    config.identify({
      vendorId: 0x8086,
      deviceId: 0x2918,
      revisionId: 2,
      classCode: 0x060100,
      subsystemVendorId: QEMU_SUBSYSTEM.vendorId,
      subsystemId: QEMU_SUBSYSTEM.deviceId,
      headerType: 0x80,
    });
    config.define(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER, PciCommand.SERR);
    config.define(Register.PMBASE, 4, Pmbase.INDICATOR, Pmbase.ADDRESS);
    config.define(Register.ACPI_CNTL, 1, 0, AcpiCntl.ENABLE | AcpiCntl.SCI_IRQ_SEL);
    for (let i = 0; i < 4; i++) {
      config.define(Register.PIRQA_ROUT + i, 1, PirqRout.DISABLED, PirqRout.MASK);
      config.define(Register.PIRQE_ROUT + i, 1, PirqRout.DISABLED, PirqRout.MASK);
    }
    config.define(Register.SIRQ_CNTL, 1, SIRQ_CNTL.RESET, SIRQ_CNTL.MASK);
    config.define(Register.LPC_EN, 2, LPC_EN_VALUE);
    config.define(
      Register.GEN_PMCON_1,
      2,
      0,
      GenPmcon1.BIOS_PCI_EXP_EN | GenPmcon1.SMI_LOCK | GenPmcon1.PER_SMI_SEL,
    );
    config.define(Register.RCBA, 4, 0, Rcba.ADDRESS | Rcba.ENABLE);
  }

  /** Names who is told about changes on this thread. */
  listen(listeners: LpcListeners): void {
    this.#listeners = listeners;
  }

  readConfig(offset: number, size: AccessSize): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    const smiLock = this.#config.bytes[Register.GEN_PMCON_1] & GenPmcon1.SMI_LOCK;
    this.#config.write(offset, size, value);
    this.#config.bytes[Register.GEN_PMCON_1] |= smiLock;
    const touches = (register: number, length: number) => offset < register + length && offset + size > register;
    if (touches(Register.PMBASE, 5) || touches(Register.RCBA, 4)) this.#generation.changed();
    if (touches(Register.ACPI_CNTL, 1)) this.#listeners?.sciChanged();
    if (touches(Register.PIRQA_ROUT, 4) || touches(Register.PIRQE_ROUT, 4)) this.#listeners?.pirqChanged();
  }

  /** Where the power management block is in port space, or `undefined` while ACPI_CNTL switches it off. */
  pmRange(): AddressRange | undefined {
    const base = this.#config.read(Register.PMBASE, 2) & Pmbase.ADDRESS;
    const enabled = (this.#config.bytes[Register.ACPI_CNTL] & AcpiCntl.ENABLE) !== 0;
    return enabled && base !== 0 ? { base, length: PortCount.PM } : undefined;
  }

  /** Where the root complex register block is in memory space, or `undefined` while it is off. */
  rcrbRange(): AddressRange | undefined {
    const rcba = this.#config.read(Register.RCBA, 4);
    if ((rcba & Rcba.ENABLE) === 0) return undefined;
    return { base: (rcba & Rcba.ADDRESS) >>> 0, length: MmioLayout.RCBA_SIZE };
  }

  /** The GSI of ACPI's system control interrupt, or `undefined` for a reserved encoding. */
  sciGsi(): number | undefined {
    return SCI_GSI[this.#config.bytes[Register.ACPI_CNTL] & AcpiCntl.SCI_IRQ_SEL];
  }

  pirqOf({ slot, pin }: IntxPin): number {
    if (slot === 30) return PIRQ_E + pin;
    const offset = ROUTE_OFFSET[slot];
    if (offset === undefined) return PIRQ_E + (slot + pin) % 4;
    return (this.#routes[offset + (pin >>> 1)] >>> (4 * (pin & 1))) & 7;
  }

  isaIrqOf(pirq: number): number | undefined {
    const register = pirq < PIRQ_E ? Register.PIRQA_ROUT + pirq : Register.PIRQE_ROUT + pirq - PIRQ_E;
    return decodePirqRout(this.#config.bytes[register]);
  }

  /** Machine reset. */
  reset(): void {
    this.#config.reset();
    this.#routes.fill(0);
    for (const offset of Object.values(ROUTE_OFFSET)) {
      this.#routes[offset] = ROUTE_RESET & 0xff;
      this.#routes[offset + 1] = ROUTE_RESET >>> 8;
    }
    this.#generation.changed();
    this.#listeners?.sciChanged();
    this.#listeners?.pirqChanged();
  }

  #readRcrb(offset: number): number {
    if (offset === Rcrb.GCS) return Rcrb.GCS_NO_REBOOT;
    return this.#routes[offset - Rcrb.ROUTES] ?? 0;
  }

  #writeRcrb(offset: number, value: number): void {
    const at = offset - Rcrb.ROUTES;
    const exists = Object.values(ROUTE_OFFSET).some((register) => at === register || at === register + 1);
    if (exists) this.#routes[at] = value & ROUTE_MASK;
  }
}
