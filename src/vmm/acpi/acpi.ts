/**
 * ACPI tables for this machine, and the two ways in which they reach a guest: through firmware, which asks fw_cfg for them, or
 * straight into RAM for a kernel that is started without firmware.
 *
 * @module
 */
import type { MemoryRegion } from "../../device/guest_memory.ts";
import { LegacyRegion } from "../layout.ts";
import { DSDT_REVISION, dsdtBody } from "./dsdt.ts";
import { type AcpiImage, AcpiImageBuilder, relocate, RSDP_ALIGNMENT, TABLES_ALIGNMENT } from "./image.ts";
import type { AcpiMachine } from "./machine.ts";
import { addFacs, addFadt, addMadt, addMcfg, addRootTable, addWaet, setRsdp } from "./tables.ts";

export type { AcpiImage } from "./image.ts";
export type { AcpiMachine, AcpiSerialPort } from "./machine.ts";

/** APIC IDs and MADT processor UIDs are bytes, and 255 means all processors. */
const MAX_CPUS = 255;

/**
 * Where firmware-less tables begin: operating systems search 0xe0000 to 0xfffff for the RSDP (ACPI 6.5, section 5.2.5.1). SMBIOS has the
 * upper half, where alone it is searched.
 */
const DIRECT_BASE = 0xe_0000;
const DIRECT_END = LegacyRegion.BIOS_BASE;
const PAGE_SIZE = 0x1000;

/**
 * Builds all tables.
 *
 * @throws {RangeError} when there are not 1 to 255 CPUs.
 */
export function buildAcpi(machine: AcpiMachine): AcpiImage {
  const { cpus } = machine;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw new RangeError(`ACPI tables describe 1 to ${MAX_CPUS} CPUs, not ${cpus}`);
  }
  const builder = new AcpiImageBuilder();
  const facs = addFacs(builder);
  const dsdt = builder.addTable("DSDT", DSDT_REVISION, dsdtBody(machine));
  const tables = [
    addFadt(builder, machine, facs, dsdt),
    addMadt(builder, machine),
    addMcfg(builder),
    addWaet(builder),
  ];
  const rsdt = addRootTable(builder, "RSDT", tables);
  const xsdt = addRootTable(builder, "XSDT", tables);
  setRsdp(builder, rsdt, xsdt);
  return builder.build();
}

/** Tables with absolute addresses. */
export interface PlacedAcpi {
  /** Guest-physical address of the RSDP. */
  readonly rsdpAddress: number;
  /** The range that the tables take, in whole pages. */
  readonly base: number;
  readonly size: number;
  /** What is to be written, and where. */
  readonly regions: readonly MemoryRegion[];
}

/**
 * Gives an image addresses in the BIOS area, RSDP first, for a kernel that is started without firmware.
 *
 * @throws {RangeError} when the tables do not fit there, which takes more than 255 CPUs.
 */
export function placeAcpi(image: AcpiImage): PlacedAcpi {
  const tablesAddress = alignUp(DIRECT_BASE + alignUp(image.rsdp.length, RSDP_ALIGNMENT), TABLES_ALIGNMENT);
  const end = alignUp(tablesAddress + image.tables.length, PAGE_SIZE);
  if (end > DIRECT_END) throw new RangeError(`ACPI tables of ${image.tables.length} bytes do not fit below the BIOS`);
  const { rsdp, tables } = relocate(image, tablesAddress);
  return {
    rsdpAddress: DIRECT_BASE,
    base: DIRECT_BASE,
    size: end - DIRECT_BASE,
    regions: [{ gpa: DIRECT_BASE, bytes: rsdp }, { gpa: tablesAddress, bytes: tables }],
  };
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
