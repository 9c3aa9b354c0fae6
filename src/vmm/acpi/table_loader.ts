/**
 * ACPI tables for firmware: three fw_cfg files, of which `etc/table-loader` is a script that tells firmware how to place and patch
 * the other two (QEMU, hw/acpi/bios-linker-loader.c; interpreted by SeaBIOS' src/fw/romfile_loader.c and OVMF's
 * AcpiPlatformDxe).
 *
 * A command takes 128 bytes: u32 code, then its operands, little-endian and packed; file names take 56 bytes, NUL-padded.
 *
 * | code | command      | operands                                                   |
 * | ---- | ------------ | ---------------------------------------------------------- |
 * | 1    | ALLOCATE     | file, u32 alignment, u8 zone                               |
 * | 2    | ADD_POINTER  | file that holds it, file pointed at, u32 offset, u8 size   |
 * | 3    | ADD_CHECKSUM | file, u32 offset of the sum, u32 start, u32 length         |
 *
 * @module
 */
import { ascii, concatenate, littleEndian } from "./aml.ts";
import { type AcpiImage, type AcpiPart, RSDP_ALIGNMENT, TABLES_ALIGNMENT } from "./image.ts";

const Command = { ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3 } as const;
/** Anywhere below 4 GiB, or the F segment where the RSDP is searched. */
const Zone = { HIGH: 1, F_SEGMENT: 2 } as const;
const COMMAND_SIZE = 128;
const NAME_SIZE = 56;

const FILE: Readonly<Record<AcpiPart, string>> = { tables: "etc/acpi/tables", rsdp: "etc/acpi/rsdp" };
const SCRIPT = "etc/table-loader";

/** The fw_cfg files by which firmware gets the tables: name → contents. */
export function acpiFiles(image: AcpiImage): ReadonlyMap<string, Uint8Array> {
  return new Map([[FILE.tables, image.tables], [FILE.rsdp, image.rsdp], [SCRIPT, script(image)]]);
}

function script(image: AcpiImage): Uint8Array {
  const commands = [
    allocate("rsdp", RSDP_ALIGNMENT, Zone.F_SEGMENT),
    allocate("tables", TABLES_ALIGNMENT, Zone.HIGH),
    ...image.pointers.map(({ part, offset, size }) =>
      command(Command.ADD_POINTER, [...fileName(part), ...fileName("tables"), ...littleEndian(offset, 4), size])
    ),
    ...image.checksums.map(({ part, start, length, offset }) => {
      const operands = [offset, start, length].flatMap((value) => littleEndian(value, 4));
      return command(Command.ADD_CHECKSUM, [...fileName(part), ...operands]);
    }),
  ];
  return concatenate(...commands);
}

function allocate(part: AcpiPart, alignment: number, zone: number): Uint8Array {
  return command(Command.ALLOCATE, [...fileName(part), ...littleEndian(alignment, 4), zone]);
}

function command(code: number, operands: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(COMMAND_SIZE);
  bytes.set(littleEndian(code, 4));
  bytes.set(operands, 4);
  return bytes;
}

function fileName(part: AcpiPart): number[] {
  return ascii(FILE[part]).concat(Array(NAME_SIZE - FILE[part].length).fill(0));
}
