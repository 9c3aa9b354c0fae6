/**
 * The static ACPI tables: what the operating system reads before it can run AML.
 *
 * Section numbers are those of the ACPI Specification, release 6.5. The MCFG is the PCI Firmware Specification's (revision 3.3,
 * section 4.1.2), the WAET Microsoft's ("Windows ACPI Emulated Devices Table", 2009).
 *
 * @module
 */
import { Gsi, MmioLayout, Port } from "../layout.ts";
import { ApmCommand } from "../platform/acpi_pm.ts";
import { ClockRegister } from "../platform/rtc_calendar.ts";
import { ascii, concatenate, littleEndian } from "./aml.ts";
import { type AcpiImageBuilder, BODY_OFFSET, OEM_ID } from "./image.ts";
import type { AcpiMachine } from "./machine.ts";

/** Offsets in the FADT (section 5.2.9, table 5.9), header included; revision 4 has 244 bytes. */
const Fadt = {
  FIRMWARE_CTRL: 36,
  DSDT: 40,
  SCI_INT: 46,
  SMI_CMD: 48,
  ACPI_ENABLE: 52,
  ACPI_DISABLE: 53,
  PM1A_EVT_BLK: 56,
  PM1A_CNT_BLK: 64,
  PM_TMR_BLK: 76,
  GPE0_BLK: 80,
  PM1_EVT_LEN: 88,
  PM1_CNT_LEN: 89,
  PM_TMR_LEN: 91,
  GPE0_BLK_LEN: 92,
  P_LVL2_LAT: 96,
  P_LVL3_LAT: 98,
  CENTURY: 108,
  IAPC_BOOT_ARCH: 109,
  FLAGS: 112,
  RESET_REG: 116,
  RESET_VALUE: 128,
  X_DSDT: 140,
  X_PM1A_EVT_BLK: 148,
  X_PM1A_CNT_BLK: 172,
  X_PM_TMR_BLK: 208,
  X_GPE0_BLK: 220,
  SIZE: 244,
  REVISION: 4,
} as const;

/** Fixed feature flags (table 5.10). The power button is a fixed one: its flag is 0. */
const FadtFlag = {
  WBINVD: 1 << 0,
  /** All processors have C1, which is HLT. */
  PROC_C1: 1 << 2,
  /** There is no fixed sleep button. */
  SLP_BUTTON: 1 << 5,
  /** The clock's alarm does not wake the machine through fixed registers. */
  FIX_RTC: 1 << 6,
  RESET_REG_SUP: 1 << 10,
  /** The PM timer is a better clock than a TSC that may stop or jump. */
  USE_PLATFORM_CLOCK: 1 << 15,
  /** More than 8 APICs do not fit into flat logical destinations. */
  FORCE_APIC_CLUSTER_MODEL: 1 << 18,
} as const;

/** IA-PC boot architecture flags (table 5.11). */
const BootArch = { LEGACY_DEVICES: 1 << 0, KEYBOARD_8042: 1 << 1, VGA_NOT_PRESENT: 1 << 2 } as const;

/** Latencies of at least 101 and 1001 µs say that C2 and C3 are not there. */
const NO_C_STATE = 0xfff;
/** A hard reset through the ICH9's reset control register: RST_CPU and SYS_RST (ICH9, section 13.7.5). */
const RESET_VALUE = 0x06;

/** The ACPI power management block, from its base: offset and length in bytes (ICH9, section 13.8.3). */
const PmBlock = {
  EVENT: { offset: 0x00, length: 4 },
  CONTROL: { offset: 0x04, length: 2 },
  TIMER: { offset: 0x08, length: 4 },
  GPE0: { offset: 0x20, length: 16 },
} as const;

/** Generic address structure (section 5.2.3.2): I/O space, width in bits, no access size. */
function ioAddress(port: number, bytes: number): number[] {
  return [1, bytes * 8, 0, 0, ...littleEndian(port, 8)];
}

/** FADT: fixed hardware. Points at FACS and DSDT, whose offsets in the tables part are given. */
export function addFadt(builder: AcpiImageBuilder, machine: AcpiMachine, facs: number, dsdt: number): number {
  const table = new Uint8Array(Fadt.SIZE);
  const put = (at: number, size: number, value: number) => table.set(littleEndian(value, size), at);
  put(Fadt.SCI_INT, 2, Gsi.SCI);
  put(Fadt.SMI_CMD, 4, Port.APM);
  put(Fadt.ACPI_ENABLE, 1, ApmCommand.ACPI_ENABLE);
  put(Fadt.ACPI_DISABLE, 1, ApmCommand.ACPI_DISABLE);
  const blocks = [
    [PmBlock.EVENT, Fadt.PM1A_EVT_BLK, Fadt.PM1_EVT_LEN, Fadt.X_PM1A_EVT_BLK],
    [PmBlock.CONTROL, Fadt.PM1A_CNT_BLK, Fadt.PM1_CNT_LEN, Fadt.X_PM1A_CNT_BLK],
    [PmBlock.TIMER, Fadt.PM_TMR_BLK, Fadt.PM_TMR_LEN, Fadt.X_PM_TMR_BLK],
    [PmBlock.GPE0, Fadt.GPE0_BLK, Fadt.GPE0_BLK_LEN, Fadt.X_GPE0_BLK],
  ] as const;
  for (const [{ offset, length }, address, lengthAt, extended] of blocks) {
    put(address, 4, Port.PM_BASE + offset);
    put(lengthAt, 1, length);
    table.set(ioAddress(Port.PM_BASE + offset, length), extended);
  }
  put(Fadt.P_LVL2_LAT, 2, NO_C_STATE);
  put(Fadt.P_LVL3_LAT, 2, NO_C_STATE);
  put(Fadt.CENTURY, 1, ClockRegister.CENTURY);
  put(Fadt.IAPC_BOOT_ARCH, 2, bootArchitecture(machine));
  put(Fadt.FLAGS, 4, fadtFlags(machine));
  table.set(ioAddress(Port.RESET_CONTROL, 1), Fadt.RESET_REG);
  put(Fadt.RESET_VALUE, 1, RESET_VALUE);
  // X_FIRMWARE_CTRL stays 0: only one of the two may point at the FACS.
  return builder.addTable("FACP", Fadt.REVISION, table.subarray(BODY_OFFSET), [
    { at: Fadt.FIRMWARE_CTRL, size: 4, target: facs },
    { at: Fadt.DSDT, size: 4, target: dsdt },
    { at: Fadt.X_DSDT, size: 8, target: dsdt },
  ]);
}

function bootArchitecture({ keyboard = false, vga = false }: AcpiMachine): number {
  return BootArch.LEGACY_DEVICES | (keyboard ? BootArch.KEYBOARD_8042 : 0) | (vga ? 0 : BootArch.VGA_NOT_PRESENT);
}

function fadtFlags({ cpus }: AcpiMachine): number {
  return FadtFlag.WBINVD | FadtFlag.PROC_C1 | FadtFlag.SLP_BUTTON | FadtFlag.FIX_RTC | FadtFlag.RESET_REG_SUP |
    FadtFlag.USE_PLATFORM_CLOCK | (cpus > 8 ? FadtFlag.FORCE_APIC_CLUSTER_MODEL : 0);
}

/** FACS (section 5.2.10): 64 bytes of RAM that operating system and firmware share; no common header, no checksum. */
export function addFacs(builder: AcpiImageBuilder): number {
  const size = 64;
  const version = 1;
  const bytes = new Uint8Array(size);
  bytes.set(ascii("FACS"));
  bytes.set(littleEndian(size, 4), 4);
  bytes[32] = version;
  return builder.addRaw(bytes, size);
}

/** Interrupt controller structures of the MADT (section 5.2.12). */
const MadtType = { LOCAL_APIC: 0, IO_APIC: 1, SOURCE_OVERRIDE: 2, LOCAL_APIC_NMI: 4 } as const;
const MADT_REVISION = 3;
/** The machine also has two 8259 PICs, which must be masked when the APICs are used. */
const PCAT_COMPAT = 1;
const CPU_ENABLED = 1;
/** MPS INTI flags (table 5.26): as the bus has it, or active high and level-triggered. */
const MpsInti = { CONFORMS: 0, ACTIVE_HIGH_LEVEL: 0x0d } as const;
const ALL_PROCESSORS = 0xff;
const NMI_LINT = 1;

/** ISA interrupts that are PCI's or ACPI's here: level-triggered, though ISA's own are edge-triggered. */
const LEVEL_TRIGGERED_IRQS = [5, Gsi.SCI, 10, 11] as const;

/** MADT: processors and interrupt controllers. */
export function addMadt(builder: AcpiImageBuilder, { cpus }: AcpiMachine): number {
  const processors = Array.from(
    { length: cpus },
    (_, id) => structure(MadtType.LOCAL_APIC, [id, id, ...littleEndian(CPU_ENABLED, 4)]),
  );
  const ioApic = structure(MadtType.IO_APIC, [0, 0, ...littleEndian(MmioLayout.IOAPIC_BASE, 4), 0, 0, 0, 0]);
  const overrides = [
    sourceOverride(Gsi.TIMER, Gsi.TIMER_IOAPIC_PIN, MpsInti.CONFORMS),
    ...LEVEL_TRIGGERED_IRQS.map((irq) => sourceOverride(irq, irq, MpsInti.ACTIVE_HIGH_LEVEL)),
  ];
  const nmi = structure(MadtType.LOCAL_APIC_NMI, [ALL_PROCESSORS, ...littleEndian(MpsInti.CONFORMS, 2), NMI_LINT]);
  const preamble = [...littleEndian(MmioLayout.LAPIC_BASE, 4), ...littleEndian(PCAT_COMPAT, 4)];
  return builder.addTable("APIC", MADT_REVISION, concatenate(preamble, ...processors, ioApic, ...overrides, nmi));
}

function structure(type: number, contents: readonly number[]): number[] {
  return [type, contents.length + 2, ...contents];
}

function sourceOverride(irq: number, gsi: number, flags: number): number[] {
  const isaBus = 0;
  return structure(MadtType.SOURCE_OVERRIDE, [isaBus, irq, ...littleEndian(gsi, 4), ...littleEndian(flags, 2)]);
}

/** A bus takes 1 MiB of ECAM. */
const ECAM_BUS_SIZE = 0x10_0000;

/** Buses that ECAM reaches: the last one's number. */
export const LAST_BUS: number = MmioLayout.ECAM_SIZE / ECAM_BUS_SIZE - 1;

/** MCFG: where PCI configuration space is mapped. */
export function addMcfg(builder: AcpiImageBuilder): number {
  const reserved = 8;
  const segment = 0;
  const allocation = [...littleEndian(MmioLayout.ECAM_BASE, 8), ...littleEndian(segment, 2), 0, LAST_BUS, 0, 0, 0, 0];
  return builder.addTable("MCFG", 1, concatenate(new Uint8Array(reserved), allocation));
}

/** The PM timer needs to be read only once to get a good value. */
const PM_TIMER_GOOD = 1 << 1;

/** WAET: what Windows need not work around, because this hardware is emulated. */
export function addWaet(builder: AcpiImageBuilder): number {
  return builder.addTable("WAET", 1, concatenate(littleEndian(PM_TIMER_GOOD, 4)));
}

/** RSDT (section 5.2.7) or XSDT (5.2.8): addresses of the other tables, 4 or 8 bytes each. */
export function addRootTable(builder: AcpiImageBuilder, signature: "RSDT" | "XSDT", tables: readonly number[]): number {
  const size = signature === "RSDT" ? 4 : 8;
  const pointers = tables.map((target, index) => ({ at: BODY_OFFSET + index * size, size, target } as const));
  return builder.addTable(signature, 1, new Uint8Array(tables.length * size), pointers);
}

/** RSDP, ACPI 2.0 and later (section 5.2.5.3, table 5.3). */
const Rsdp = {
  CHECKSUM: 8,
  OEM_ID: 9,
  REVISION: 15,
  RSDT: 16,
  LENGTH: 20,
  XSDT: 24,
  EXTENDED_CHECKSUM: 32,
  SIZE: 36,
} as const;
/** What the first checksum covers: the structure as ACPI 1.0 had it. */
const RSDP_ACPI_1_SIZE = 20;

/** Sets the RSDP. */
export function setRsdp(builder: AcpiImageBuilder, rsdt: number, xsdt: number): void {
  const bytes = new Uint8Array(Rsdp.SIZE);
  bytes.set(ascii("RSD PTR "));
  bytes.set(ascii(OEM_ID), Rsdp.OEM_ID);
  bytes[Rsdp.REVISION] = 2;
  bytes.set(littleEndian(Rsdp.SIZE, 4), Rsdp.LENGTH);
  builder.setRsdp(bytes, [{ at: Rsdp.RSDT, size: 4, target: rsdt }, { at: Rsdp.XSDT, size: 8, target: xsdt }], [
    { start: 0, length: RSDP_ACPI_1_SIZE, offset: Rsdp.CHECKSUM },
    { start: 0, length: Rsdp.SIZE, offset: Rsdp.EXTENDED_CHECKSUM },
  ]);
}
