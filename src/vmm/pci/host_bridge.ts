/**
 * The host bridge of the Q35 memory controller hub at 00:00.0, 8086:29c0 (MCH, chapter "DRAM Controller Registers
 * (D0:F0)").
 *
 * | offset | register | here                                                                  |
 * | ------ | -------- | --------------------------------------------------------------------- |
 * | 0x60   | PCIEXBAR | base, length and enable of the ECAM window                            |
 * | 0x90   | PAM0-6   | shadow RAM, see `pam.ts`                                              |
 * | 0x9d   | SMRAM    | D_OPEN, D_CLS, D_LCK and G_SMRAME as far as software can read them back |
 * | 0x9e   | ESMRAMC  | read-only: no TSEG, no high SMRAM                                     |
 *
 * There is no system management mode. Nothing lies behind SMRAM at 0xa0000 whatever D_OPEN says, and no SMI is ever
 * delivered; SMI_EN in the power management block tells firmware that somebody has set SMM up already, upon which
 * SeaBIOS leaves it alone.
 *
 * The subsystem ID is QEMU's, by which SeaBIOS recognises a machine that has fw_cfg.
 *
 * @module
 */
import { type AccessSize, ConfigSpace, PciCommand, PciConfig } from "../../device/config_space.ts";
import { bytes, defineState } from "../../device/state.ts";
import type { AddressRange, MappingGeneration } from "../bus.ts";
import { MmioLayout } from "../layout.ts";
import { changedPam, decodePam, PAM0_MASK, PAM_COUNT, PAM_MASK, type PamAccess, type PamSegment } from "./pam.ts";
import type { PciFunction } from "./pci_bus.ts";

/** Registers of the host bridge. */
export const HostBridgeState = defineState("q35-host-bridge", 1, { config: bytes(PciConfig.SIZE) });

/** IDs by which firmware recognises a virtual machine that works like QEMU's. */
export const QEMU_SUBSYSTEM = { vendorId: 0x1af4, deviceId: 0x1100 } as const;

/** Offsets in the host bridge's configuration space. */
export const HostBridgeRegister = {
  PCIEXBAR: 0x60,
  PCIEXBAR_HIGH: 0x64,
  PAM0: 0x90,
  SMRAM: 0x9d,
  ESMRAMC: 0x9e,
} as const;
const Register = HostBridgeRegister;

/** PCIEXBAR, 64 bits. */
export const Pciexbar = {
  ENABLE: 0x1,
  /** 0: 256 MiB, 1: 128 MiB, 2: 64 MiB, 3: reserved. */
  LENGTH_SHIFT: 1,
  LENGTH_MASK: 0x6,
  /** Address bits 31:26; which of 27 and 26 exist depends on the length. */
  ADDRESS_LOW: 0xfc00_0000,
  /** Address bits 35:32. */
  ADDRESS_HIGH: 0xf,
  LARGEST: 0x1000_0000,
} as const;

const Smram = { D_OPEN: 0x40, D_CLS: 0x20, D_LCK: 0x10, G_SMRAME: 0x08, C_BASE_SEG: 0x02 } as const;

/** SM_CACHE, SM_L1 and SM_L2, which are hardwired to 1. */
const ESMRAMC_VALUE = 0x38;

/** What {@linkcode HostBridge} needs. */
export interface HostBridgeOptions {
  readonly state: ReturnType<typeof HostBridgeState.attach>;
  /** Told when PCIEXBAR changes. */
  readonly generation: MappingGeneration;
  /**
   * A run of the legacy region is steered differently now. Called on the thread whose guest CPU wrote, before its write
   * completes, once for each run of segments that changed alike.
   */
  onPamChange(start: number, length: number, access: PamAccess): void;
}

/** The function at 00:00.0. */
export class HostBridge implements PciFunction {
  readonly #config: ConfigSpace;
  readonly #options: HostBridgeOptions;

  constructor(options: HostBridgeOptions) {
    this.#options = options;
    this.#config = new ConfigSpace(options.state.config, { attached: true });
    this.#define();
  }

  #define(): void {
    const config = this.#config;
    config.identify({
      vendorId: 0x8086,
      deviceId: 0x29c0,
      classCode: 0x060000,
      subsystemVendorId: QEMU_SUBSYSTEM.vendorId,
      subsystemId: QEMU_SUBSYSTEM.deviceId,
    });
    // It always answers and always masters the bus: both bits are hardwired.
    config.define(PciConfig.COMMAND, 2, PciCommand.MEMORY | PciCommand.MASTER, PciCommand.SERR);
    config.define(
      Register.PCIEXBAR,
      4,
      MmioLayout.ECAM_BASE,
      Pciexbar.ADDRESS_LOW | Pciexbar.LENGTH_MASK | Pciexbar.ENABLE,
    );
    config.define(Register.PCIEXBAR_HIGH, 4, 0, Pciexbar.ADDRESS_HIGH);
    config.define(Register.PAM0, 1, 0, PAM0_MASK);
    for (let i = 1; i < PAM_COUNT; i++) config.define(Register.PAM0 + i, 1, 0, PAM_MASK);
    config.define(Register.SMRAM, 1, Smram.C_BASE_SEG, Smram.D_OPEN | Smram.D_CLS | Smram.D_LCK | Smram.G_SMRAME);
    config.define(Register.ESMRAMC, 1, ESMRAMC_VALUE);
  }

  readConfig(offset: number, size: AccessSize): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    const pam = this.#pam().slice();
    const smram = this.#config.bytes[Register.SMRAM];
    this.#config.write(offset, size, value);
    this.#lockSmram(smram);
    if (offset < Register.PCIEXBAR + 8 && offset + size > Register.PCIEXBAR) this.#pciexbarWritten();
    this.#reportPam(pam);
  }

  /** Where the ECAM window is, or `undefined` while PCIEXBAR is disabled or has a reserved length. */
  ecamRange(): AddressRange | undefined {
    const low = this.#config.read(Register.PCIEXBAR, 4);
    const high = this.#config.read(Register.PCIEXBAR_HIGH, 4);
    const encoding = (low & Pciexbar.LENGTH_MASK) >>> Pciexbar.LENGTH_SHIFT;
    if ((low & Pciexbar.ENABLE) === 0 || encoding === 3) return undefined;
    return { base: high * 0x1_0000_0000 + ((low & Pciexbar.ADDRESS_LOW) >>> 0), length: Pciexbar.LARGEST >>> encoding };
  }

  /** How the whole legacy region is steered now, by ascending address. */
  pamSegments(): PamSegment[] {
    return decodePam(this.#pam());
  }

  /** Machine reset: the legacy region reads the flash again, and ECAM is off. */
  reset(): void {
    const pam = this.#pam().slice();
    this.#config.reset();
    this.#reportPam(pam);
    this.#options.generation.changed();
  }

  #pam(): Uint8Array {
    return this.#config.bytes.subarray(Register.PAM0, Register.PAM0 + PAM_COUNT);
  }

  #reportPam(before: Uint8Array): void {
    for (const { start, length, read, write } of changedPam(before, this.#pam())) {
      this.#options.onPamChange(start, length, { read, write });
    }
  }

  /** Below the window's length, PCIEXBAR has no address bits: they read as 0. */
  #pciexbarWritten(): void {
    const low = this.#config.read(Register.PCIEXBAR, 4);
    const encoding = Math.min((low & Pciexbar.LENGTH_MASK) >>> Pciexbar.LENGTH_SHIFT, 2);
    const beneath = (Pciexbar.LARGEST >>> encoding) - 1;
    this.#config.set(Register.PCIEXBAR, 4, low & (~beneath | Pciexbar.LENGTH_MASK | Pciexbar.ENABLE));
    this.#options.generation.changed();
  }

  /** Setting D_LCK closes the window and freezes all but D_CLS until the next reset. */
  #lockSmram(before: number): void {
    const written = this.#config.bytes[Register.SMRAM];
    if ((before & Smram.D_LCK) !== 0) {
      this.#config.bytes[Register.SMRAM] = (before & ~Smram.D_CLS) | (written & Smram.D_CLS);
    } else if ((written & Smram.D_LCK) !== 0) {
      this.#config.bytes[Register.SMRAM] = written & ~Smram.D_OPEN;
    }
  }
}
