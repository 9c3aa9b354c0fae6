/**
 * What of the chip lies in the shadow (see DeviceHost.shadow): config space, the SCRIPTS RAM, and all registers but
 * those whose reading has an effect, with what shares a dword with them.
 *
 * These bytes are not copies: they are what the chip works on. So another CPU that reads them sees changes in the order
 * in which the chip makes them, as on the real bus: what SCRIPTS put into a register is there before the flag that they
 * set afterwards, be that flag in a register, in the SCRIPTS RAM or in the guest's, and before the interrupt. What the
 * chip derives from other things has to be in its register as soon as they change; nothing is left for the moment of
 * reading.
 *
 * @module
 */
import { PciConfig } from "../../device/config_space.ts";
import type { DeviceHost, ShadowedRegisters } from "../../device/pci_device.ts";
import { Bar, REGISTER_BAR_SIZE } from "./bus_master.ts";
import { SCRIPTS_RAM_SIZE } from "./chip_state.ts";
import { READING_HAS_EFFECT, Reg } from "./registers.ts";

/** The memory that a chip works on. */
export interface ChipMemory {
  /** Config space: 256 bytes. */
  readonly config: Uint8Array;
  /** The register file: 256 bytes. */
  readonly registers: Uint8Array;
  readonly scriptsRam: Uint8Array;
}

/** Where they are in the shadow. */
const Place = { CONFIG: 0, REGISTERS: 0x100, SCRIPTS_RAM: 0x200, END: 0x200 + SCRIPTS_RAM_SIZE } as const;

/** Asks the host for the memory, all zero. */
export function createChipMemory(host: DeviceHost): ChipMemory {
  const memory = host.shadow(Place.END, layout());
  return {
    config: memory.subarray(Place.CONFIG, Place.REGISTERS),
    registers: memory.subarray(Place.REGISTERS, Place.SCRIPTS_RAM),
    scriptsRam: memory.subarray(Place.SCRIPTS_RAM, Place.END),
  };
}

/** Whether reading the aligned dword that has this register in it does no more than that. */
export function readsWithoutEffect(register: number): boolean {
  return READING_HAS_EFFECT.every((other) => other >> 2 !== register >> 2);
}

/** All ranges, those first where drivers look most. */
function layout(): ShadowedRegisters[] {
  const copies = Array.from({ length: REGISTER_BAR_SIZE / Reg.SIZE }, (_, i) => i * Reg.SIZE);
  const inMemory = copies.map((start) => registers(Bar.MEMORY_REGISTERS, start));
  return [
    ...inMemory[0],
    ...registers(Bar.IO_REGISTERS, 0),
    { bar: "config", offset: 0, length: PciConfig.SIZE, at: Place.CONFIG },
    { bar: Bar.SCRIPTS_RAM, offset: 0, length: SCRIPTS_RAM_SIZE, at: Place.SCRIPTS_RAM },
    ...inMemory.slice(1).flat(),
  ];
}

/** The runs of registers without effects, in a copy of the register file that begins at `start` of a BAR. */
function registers(bar: number, start: number): ShadowedRegisters[] {
  const runs: ShadowedRegisters[] = [];
  let first = 0;
  for (let at = 0; at <= Reg.SIZE; at += 4) {
    if (at < Reg.SIZE && readsWithoutEffect(at)) continue;
    if (at > first) runs.push({ bar, offset: start + first, length: at - first, at: Place.REGISTERS + first });
    first = at + 4;
  }
  return runs;
}
