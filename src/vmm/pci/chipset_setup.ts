/**
 * What firmware does to the chipset before an operating system runs, for machines that boot a kernel without firmware:
 * the ACPI tables describe the chipset as it is afterwards.
 *
 * BARs and interrupt lines are left to the operating system, which assigns what it finds unassigned.
 *
 * @module
 */
import type { KvmVm } from "../../ffi/kvm.ts";
import { KVM_PIC_ELCR, KvmIrqchip } from "../../ffi/kvm_abi.ts";
import { Gsi, MmioLayout, PciSlot, Port } from "../layout.ts";
import { HostBridgeRegister, Pciexbar } from "./host_bridge.ts";
import { AcpiCntl, LpcRegister, Pmbase, Rcba } from "./lpc.ts";
import type { PciBus } from "./pci_bus.ts";

const FUNCTIONS_PER_SLOT = 8;

/** PAM0 to PAM6: the whole legacy region is RAM, readable and writable. */
const SHADOW_RAM = [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33];

/**
 * Programs host bridge and LPC bridge as SeaBIOS does: ECAM, power management block and root complex registers at the
 * addresses of `layout.ts`, the SCI on, and RAM from 0xc0000 to 0xfffff.
 */
export function programChipset(pci: PciBus): void {
  const hostBridge = PciSlot.HOST_BRIDGE * FUNCTIONS_PER_SLOT;
  for (const [i, attributes] of SHADOW_RAM.entries()) {
    pci.write(0, hostBridge, HostBridgeRegister.PAM0 + i, 1, attributes);
  }
  pci.write(0, hostBridge, HostBridgeRegister.PCIEXBAR_HIGH, 4, 0);
  pci.write(0, hostBridge, HostBridgeRegister.PCIEXBAR, 4, MmioLayout.ECAM_BASE | Pciexbar.ENABLE);
  const lpc = PciSlot.LPC * FUNCTIONS_PER_SLOT;
  pci.write(0, lpc, LpcRegister.PMBASE, 4, Port.PM_BASE | Pmbase.INDICATOR);
  pci.write(0, lpc, LpcRegister.ACPI_CNTL, 1, AcpiCntl.ENABLE);
  pci.write(0, lpc, LpcRegister.RCBA, 4, MmioLayout.RCBA_BASE | Rcba.ENABLE);
}

/** Inputs of the first of the two 8259s; the second has the rest. */
const PIC_INPUTS = 8;

/** Makes the 8259s take the SCI as level-triggered: the ICH9's edge/level control register (ELCR2) has the bit for it. */
export function makeSciLevelTriggered(vm: Pick<KvmVm, "irqchip" | "setIrqchip">): void {
  const state = vm.irqchip(KvmIrqchip.PIC_SLAVE);
  state[KVM_PIC_ELCR] |= 1 << (Gsi.SCI - PIC_INPUTS);
  vm.setIrqchip(state);
}
