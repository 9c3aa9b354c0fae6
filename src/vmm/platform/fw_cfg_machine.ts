/**
 * What this machine tells its firmware through fw_cfg: the keys and files that SeaBIOS and OVMF read on QEMU's x86 machines
 * (SeaBIOS, src/fw/paravirt.c and docs "Runtime config").
 *
 * @module
 */
import { encodeE820, firmwareE820 } from "../e820.ts";
import type { RamSplit } from "../layout.ts";
import { FwCfgBuilder, type FwCfgItems, FwCfgKey } from "./fw_cfg_items.ts";

/** A file in fw_cfg. */
export interface FirmwareFile {
  readonly name: string;
  readonly data: Uint8Array;
}

/** A machine, as its firmware sees it. */
export interface FirmwareMachine {
  readonly ram: RamSplit;
  readonly cpus: number;
  /** 36 characters, hexadecimal with hyphens. @default {all zero} */
  readonly uuid?: string;
  /** There is no display: SeaBIOS then talks to COM1 as well. */
  readonly serialConsole: boolean;
  /** Firmware offers its boot menu. @default {false} */
  readonly bootMenu?: boolean;
  /** Open Firmware device paths, best first; see {@linkcode pciBootPath}. @default {none: firmware's own order} */
  readonly bootOrder?: readonly string[];
  /** Firmware boots from nothing that `bootOrder` does not name. @default {false} */
  readonly strictBoot?: boolean;
  /** What firmware needs to place the ACPI tables; see `acpiFiles`. */
  readonly acpi: ReadonlyMap<string, Uint8Array>;
  /** Option ROMs that belong to no PCI device; firmware runs them in order of their names. @default {none} */
  readonly optionRoms?: readonly FirmwareFile[];
  /** The user's own (`-fw_cfg`). @default {none} */
  readonly files?: readonly FirmwareFile[];
}

/** `etc/system-states`: for S0 to S5, bit 7 that the state exists and below it its SLP_TYP. Here, S0 and S5 do. */
const SYSTEM_STATES = [0x80, 0x00, 0x00, 0x01, 0x02, 0x80];

/** Ends the boot order in SeaBIOS: what comes after is not tried. */
const BOOT_ORDER_END = "HALT";

/**
 * Builds the items.
 *
 * @throws {RangeError} for a file name that fw_cfg cannot hold.
 * @throws {TypeError} for a file that exists already, be it the user's or the machine's.
 */
export function firmwareItems(machine: FirmwareMachine): FwCfgItems {
  const { ram, cpus, bootMenu = false } = machine;
  const builder = new FwCfgBuilder()
    .item(FwCfgKey.UUID, parseUuid(machine.uuid))
    .number(FwCfgKey.RAM_SIZE, 8, ram.low + ram.high)
    .number(FwCfgKey.NO_GRAPHIC, 2, machine.serialConsole ? 1 : 0)
    .number(FwCfgKey.CPU_COUNT, 2, cpus)
    .number(FwCfgKey.MAX_CPUS, 2, cpus)
    .number(FwCfgKey.BOOT_MENU, 2, bootMenu ? 1 : 0)
    // ISA IRQ 0 arrives at IOAPIC input 2, as in the MADT.
    .number(FwCfgKey.IRQ0_OVERRIDE, 4, 1)
    .file("etc/e820", encodeE820(firmwareE820(ram)))
    .file("etc/system-states", Uint8Array.from(SYSTEM_STATES));
  for (const [name, data] of machine.acpi) builder.file(name, data);
  const order = [...machine.bootOrder ?? [], ...machine.strictBoot ? [BOOT_ORDER_END] : []];
  if (order.length > 0) builder.file("bootorder", new TextEncoder().encode(`${order.join("\n")}\0`));
  for (const { name, data } of machine.optionRoms ?? []) builder.file(`genroms/${name}`, data);
  for (const { name, data } of machine.files ?? []) builder.file(name, data);
  return builder.build();
}

/**
 * The path of a disk behind a SCSI adapter on bus 0, for `bootOrder`. Device names are free: SeaBIOS compares only addresses.
 *
 * @param slot PCI slot of the adapter, 0 to 31.
 */
export function scsiBootPath(slot: number, target: number, lun: number): string {
  return `${pciBootPath(slot, "scsi")}/channel@0/disk@${target.toString(16)},${lun.toString(16)}`;
}

/** The path of a function 0 on bus 0, for `bootOrder`. */
export function pciBootPath(slot: number, deviceName: string): string {
  return `/pci@i0cf8/${deviceName}@${slot.toString(16)}`;
}

/** 16 bytes in the order of the text (RFC 4122, section 4.1.2). */
function parseUuid(text = ""): Uint8Array {
  const digits = text.replaceAll("-", "").padEnd(32, "0");
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}
