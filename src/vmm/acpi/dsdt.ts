/**
 * The DSDT: the machine's devices in AML, for what cannot be found by asking the hardware.
 *
 * Section numbers are those of the ACPI Specification, release 6.5.
 *
 * @module
 */
import { Gsi, MmioLayout, Port, PortCount } from "../layout.ts";
import {
  argument,
  concatenate,
  device,
  eisaId,
  integer,
  method,
  name,
  path,
  pkg,
  scope,
  store,
  string,
  type Term,
} from "./aml.ts";
import { fixedMemory, ioPorts, isaInterrupt, resourceTemplate } from "./aml_resources.ts";
import { hostBridge, interruptLinks, pirqRegisters } from "./dsdt_pci.ts";
import type { AcpiMachine } from "./machine.ts";

/** With revision 2, integers have 64 bits (section 19.6.29). */
export const DSDT_REVISION = 2;

/** _STA: present, enabled, working, and not to be shown to the user (section 6.3.7). */
const PRESENT_BUT_HIDDEN = 0x0b;
/** Soft off: what the PM1 control register takes as SLP_TYP; see `AcpiPm`. */
const S5_SLEEP_TYPE = 0;

/** Everything after the table header. */
export function dsdtBody(machine: AcpiMachine): Term {
  return concatenate(
    interruptModel(),
    scope("\\_SB", ...processors(machine.cpus), motherboard(), interruptLinks()),
    scope("\\_SB", hostBridge(machine, [firmwareConfiguration(), lpcBridge(machine)])),
    name("\\_S5", pkg(...[S5_SLEEP_TYPE, S5_SLEEP_TYPE, 0, 0].map(integer))),
  );
}

/** The operating system calls _PIC(1) when it uses the IOAPIC; until then interrupts go to the 8259s (section 5.8.1). */
function interruptModel(): Term {
  return concatenate(
    name("\\PICM", integer(0)),
    method("\\_PIC", 1, store(argument(0), path("PICM"))),
  );
}

/** Processor devices; _UID is the MADT's processor UID (section 8.4). */
function processors(count: number): Term[] {
  return Array.from({ length: count }, (_, id) =>
    device(
      `C${id.toString(16).toUpperCase().padStart(3, "0")}`,
      name("_HID", string("ACPI0007")),
      name("_UID", integer(id)),
    ));
}

/** Memory that is taken, so that nobody puts BARs there: operating systems want to see ECAM here before they believe the MCFG. */
function motherboard(): Term {
  return device(
    "MRES",
    name("_HID", eisaId("PNP0C02")),
    name("_UID", integer(0)),
    name(
      "_CRS",
      resourceTemplate(
        fixedMemory(MmioLayout.ECAM_BASE, MmioLayout.ECAM_SIZE),
        fixedMemory(MmioLayout.RCBA_BASE, MmioLayout.RCBA_SIZE),
      ),
    ),
  );
}

/** fw_cfg, for Linux' and others' drivers (QEMU, docs/specs/fw_cfg.rst, "ACPI Interface"). */
function firmwareConfiguration(): Term {
  const count = Port.FW_CFG_DMA + PortCount.FW_CFG_DMA - Port.FW_CFG_SELECTOR;
  return device(
    "FWCF",
    name("_HID", string("QEMU0002")),
    name("_STA", integer(PRESENT_BUT_HIDDEN)),
    name("_CRS", resourceTemplate(ioPorts(Port.FW_CFG_SELECTOR, count))),
  );
}

/** The ICH9's LPC bridge, function 31.0, and what is behind it. */
function lpcBridge({ serialPorts, keyboard = false }: AcpiMachine): Term {
  const address = 0x1f_0000;
  return device(
    "LPCB",
    name("_ADR", integer(address)),
    pirqRegisters(),
    chipsetPorts(),
    isaDevice("PIC", "PNP0000", [
      ioPorts(Port.PIC_MASTER, 2),
      ioPorts(Port.PIC_SLAVE, 2),
      ioPorts(Port.ELCR, 2),
      isaInterrupt(Gsi.CASCADE),
    ]),
    isaDevice("TIMR", "PNP0100", [ioPorts(Port.PIT, 4), isaInterrupt(Gsi.TIMER)]),
    isaDevice("RTC", "PNP0B00", [ioPorts(Port.CMOS, PortCount.CMOS), isaInterrupt(Gsi.RTC)]),
    ...serialPorts.map(({ port, irq }, index) =>
      isaDevice(`COM${index + 1}`, "PNP0501", [ioPorts(port, PortCount.SERIAL), isaInterrupt(irq)], index + 1)
    ),
    ...(keyboard ? [keyboardDevice()] : []),
  );
}

/**
 * Ports of the chipset itself, so that nobody puts BARs there. Those below 0x100 are on every PC and are left out: a Linux that is
 * started without firmware, whose I/O BARs are all 0 still, would complain of a conflict with each.
 */
function chipsetPorts(): Term {
  return isaDevice("MRES", "PNP0C02", [ioPorts(Port.PM_BASE, PortCount.PM)], 1);
}

function keyboardDevice(): Term {
  const resources = [ioPorts(Port.I8042_DATA, 1), ioPorts(Port.I8042_COMMAND, 1), isaInterrupt(Gsi.KEYBOARD)];
  return isaDevice("KBD", "PNP0303", resources);
}

function isaDevice(at: string, hardwareId: string, resources: readonly Term[], uniqueId?: number): Term {
  return device(
    at,
    name("_HID", eisaId(hardwareId)),
    ...(uniqueId === undefined ? [] : [name("_UID", integer(uniqueId))]),
    name("_CRS", resourceTemplate(...resources)),
  );
}
