/**
 * What ACPI tells the operating system about, where machines differ. The rest is fixed by `layout.ts`.
 *
 * @module
 */
import type { RamSplit } from "../layout.ts";

/** A serial port. */
export interface AcpiSerialPort {
  /** First I/O port. */
  readonly port: number;
  /** ISA interrupt. */
  readonly irq: number;
}

/** A machine to be described. */
export interface AcpiMachine {
  /** Number of vCPUs, 1 to 255; APIC IDs count from 0. */
  readonly cpus: number;
  readonly ram: RamSplit;
  /** Width of guest-physical addresses (CPUID 0x80000008, EAX bits 0-7): PCI memory above RAM ends there. */
  readonly physicalAddressBits: number;
  /** COM1 first. */
  readonly serialPorts: readonly AcpiSerialPort[];
  /** There is a keyboard behind the keyboard controller; without one, operating systems need not look. @default {false} */
  readonly keyboard?: boolean;
  /** There is a VGA-compatible display. @default {false} */
  readonly vga?: boolean;
}
