/**
 * What firmware does to the chipset before an operating system runs, for machines that boot a kernel without firmware:
 * the ACPI tables describe the chipset as it is afterwards, and an operating system that does not use them finds interrupts routed.
 *
 * BARs are left to the operating system, which assigns what it finds unassigned.
 *
 * @module
 */
import type { KvmVm } from "../../ffi/kvm.ts";
import { PciConfig } from "../../device/config_space.ts";
import { KVM_PIC_ELCR, KvmIrqchip } from "../../ffi/kvm_abi.ts";
import { Gsi, MmioLayout, PciSlot, Port } from "../layout.ts";
import { HostBridgeRegister, Pciexbar } from "./host_bridge.ts";
import type { PirqSource } from "./intx_router.ts";
import { AcpiCntl, LpcRegister, Pmbase, Rcba } from "./lpc.ts";
import type { PciBus, PciFunction } from "./pci_bus.ts";

const SLOTS = 32;
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

/** The ISA IRQs of PIRQA# to PIRQD#, and again of PIRQE# to PIRQH#, as SeaBIOS steers them. */
const PIRQ_IRQS = [10, 10, 11, 11];

/**
 * Steers the PIRQs to the 8259s, and tells each function's Interrupt Line register where its pin arrives (PCI Local Bus Specification 3.0,
 * section 6.2.4), for operating systems that know no other way.
 */
export function routeInterrupts(pci: PciBus, pirqs: PirqSource): void {
  const lpc = PciSlot.LPC * FUNCTIONS_PER_SLOT;
  const steering = PIRQ_IRQS.reduce((register, irq, i) => register | (irq << (8 * i)), 0);
  pci.write(0, lpc, LpcRegister.PIRQA_ROUT, 4, steering);
  pci.write(0, lpc, LpcRegister.PIRQE_ROUT, 4, steering);
  for (let slot = 0; slot < SLOTS; slot++) {
    for (let fn = 0; fn < FUNCTIONS_PER_SLOT; fn++) routeFunction(pci.at({ slot, fn }), slot, pirqs);
  }
}

function routeFunction(target: PciFunction | undefined, slot: number, pirqs: PirqSource): void {
  const pin = target?.readConfig(PciConfig.INTERRUPT_PIN, 1) ?? 0;
  if (pin < 1 || pin > 4) return;
  const irq = pirqs.isaIrqOf(pirqs.pirqOf({ slot, pin: pin - 1 }));
  if (irq !== undefined) target!.writeConfig(PciConfig.INTERRUPT_LINE, 1, irq);
}

/** Inputs of the first of the two 8259s; the second has the rest. */
const PIC_INPUTS = 8;

/** Makes the 8259s take the SCI and the PIRQs as level-triggered: the ICH9's edge/level control register (ELCR2) has the bits for it. */
export function makeLevelTriggered(vm: Pick<KvmVm, "irqchip" | "setIrqchip">): void {
  const state = vm.irqchip(KvmIrqchip.PIC_SLAVE);
  for (const irq of [Gsi.SCI, ...PIRQ_IRQS]) state[KVM_PIC_ELCR] |= 1 << (irq - PIC_INPUTS);
  vm.setIrqchip(state);
}
