/**
 * What this machine tells firmware through fw_cfg.
 *
 * @module
 */
import type { AcpiImage } from "./acpi/acpi.ts";
import { acpiFiles } from "./acpi/table_loader.ts";
import type { VmmConfig } from "./config.ts";
import { readHostFile } from "./host_file.ts";
import { encodeE820, firmwareE820 } from "./e820.ts";
import { Port, type RamSplit } from "./layout.ts";
import { smbiosFiles, type SmbiosImage } from "./smbios/smbios.ts";
import { FwCfgBuilder, type FwCfgItems, FwCfgKey } from "./platform/fw_cfg_items.ts";

/** Largest file that a user can add, in bytes: all of fw_cfg is held in memory. */
const LARGEST_FILE = 64 * 2 ** 20;

/** What firmware is to place and to know of, beyond what the user asked for. */
export interface FirmwareMachine {
  readonly ram: RamSplit;
  readonly acpi: AcpiImage;
  readonly smbios: SmbiosImage;
}

/** Builds the items of a machine. @throws {Error} when a file that the user named cannot be read or taken. */
export function buildFirmwareItems(config: VmmConfig, { ram, acpi, smbios }: FirmwareMachine): FwCfgItems {
  const builder = new FwCfgBuilder()
    .number(FwCfgKey.RAM_SIZE, 8, config.memory.size)
    .number(FwCfgKey.CPU_COUNT, 2, config.cpus)
    .number(FwCfgKey.MAX_CPUS, 2, config.cpus)
    .number(FwCfgKey.NO_GRAPHIC, 2, 1)
    .number(FwCfgKey.BOOT_MENU, 2, config.boot.menu ? 1 : 0)
    // The timer is at IOAPIC input 2.
    .number(FwCfgKey.IRQ0_OVERRIDE, 4, 1)
    .item(FwCfgKey.UUID, uuidBytes(config.uuid))
    .file("etc/e820", encodeE820(firmwareE820(ram)));
  for (const [name, data] of [...acpiFiles(acpi), ...smbiosFiles(smbios)]) builder.file(name, data);
  // Without a display, SeaBIOS shows its screen on the serial port.
  if (config.serialPorts[0] !== undefined) builder.numberFile("etc/sercon-port", 2, Port.COM1);
  for (const { name, source } of config.firmwareFiles) {
    if (builder.hasFile(name)) throw new Error(`-fw_cfg name=${name}: the machine has a file of that name itself`);
    builder.file(name, "string" in source ? new TextEncoder().encode(source.string) : userFile(name, source.file));
  }
  return builder.build();
}

function userFile(name: string, path: string): Uint8Array {
  return readHostFile(`fw_cfg file ${name},`, path, LARGEST_FILE);
}

/** Sixteen bytes in the order of the text; zero without a UUID. */
function uuidBytes(uuid: string | undefined): Uint8Array {
  return uuid === undefined ? new Uint8Array(16) : Uint8Array.fromHex(uuid.replaceAll("-", ""));
}
