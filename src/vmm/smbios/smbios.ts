/**
 * SMBIOS: what the machine calls itself, for whoever asks with `dmidecode` or through `/sys/class/dmi`.
 *
 * With firmware, fw_cfg hands the tables over and SeaBIOS adds its own BIOS information and places them. Without firmware they go
 * where operating systems search, with BIOS information that names splitvm.
 *
 * Source: DMTF DSP0134, section numbers as in version 3.6. The tables are those of version 2.8, with a 32-bit entry point, which every
 * firmware and operating system understands.
 *
 * @module
 */
import type { MemoryRegion } from "../../device/guest_memory.ts";
import { VERSION } from "../../version.ts";
import type { CpuIdentity } from "../cpuid.ts";
import { LegacyRegion, RamLayout, type RamSplit } from "../layout.ts";
import { byte, dword, littleEndian, qword, structure, text, word } from "./structure.ts";

/** What differs between machines. */
export interface SmbiosMachine {
  readonly ram: RamSplit;
  readonly cpus: number;
  readonly processor: CpuIdentity;
  /** In lower case with hyphens. @default {undefined} none */
  readonly uuid?: string;
}

/** Tables without an address. */
export interface SmbiosImage {
  readonly entryPoint: Uint8Array;
  /** Structures, one behind the other. */
  readonly tables: Uint8Array;
}

const MAKER = "splitvm";
const PRODUCT = "Standard PC (Q35 + ICH9)";
/** By its year, operating systems tell old firmware whose tables are not to be trusted. */
const RELEASE_DATE = "01/01/2026";

const Type = {
  BIOS: 0,
  SYSTEM: 1,
  CHASSIS: 3,
  PROCESSOR: 4,
  MEMORY_ARRAY: 16,
  MEMORY_DEVICE: 17,
  MEMORY_MAPPING: 19,
  BOOT: 32,
  END: 127,
} as const;

/** Handles need only differ: the type, and a number. */
const handleOf = (type: number, index = 0) => type * 0x100 + index;

const OTHER = 1;
const UNKNOWN = 2;
const KIB = 0x400;
const MIB = 0x10_0000;

/**
 * Builds the tables.
 *
 * @param options `bios`: whether BIOS information is among them, because no firmware will add its own.
 */
export function buildSmbios(machine: SmbiosMachine, { bios }: { readonly bios: boolean }): SmbiosImage {
  const structures = [
    ...bios ? [biosInformation()] : [],
    systemInformation(machine),
    chassis(),
    processor(machine),
    ...memory(machine.ram),
    // Section 7.33: no errors detected.
    structure(Type.BOOT, handleOf(Type.BOOT), [{ bytes: new Uint8Array(6) }, byte(0)]),
    structure(Type.END, handleOf(Type.END), []),
  ];
  const tables = Uint8Array.from(structures.flatMap((bytes) => [...bytes]));
  const largest = Math.max(...structures.map(({ length }) => length));
  return { entryPoint: entryPoint({ tables, count: structures.length, largest, address: 0 }), tables };
}

/** Section 7.1. */
function biosInformation(): Uint8Array {
  const NO_CHARACTERISTICS = 0x08;
  /** Of the second extension byte: firmware can be replaced by content for this machine only; this is a virtual machine. */
  const [TARGETED_CONTENT, VIRTUAL_MACHINE] = [0x04, 0x10];
  const NO_CONTROLLER = 0xff;
  const [major, minor] = VERSION.split(".").map(Number);
  return structure(Type.BIOS, handleOf(Type.BIOS), [
    ...[text(MAKER), text(VERSION), word(LegacyRegion.BIOS_BASE / 16), text(RELEASE_DATE)],
    // (n + 1) × 64 KiB
    byte(LegacyRegion.BIOS_SIZE / 0x1_0000 - 1),
    ...[qword(NO_CHARACTERISTICS), byte(0), byte(TARGETED_CONTENT | VIRTUAL_MACHINE)],
    ...[byte(major), byte(minor), byte(NO_CONTROLLER), byte(NO_CONTROLLER)],
  ]);
}

/** Section 7.2. */
function systemInformation({ uuid }: SmbiosMachine): Uint8Array {
  const POWER_SWITCH = 6;
  return structure(Type.SYSTEM, handleOf(Type.SYSTEM), [
    ...[text(MAKER), text(PRODUCT), text(VERSION), text(), { bytes: uuidBytes(uuid) }],
    ...[byte(POWER_SWITCH), text(), text()],
  ]);
}

/** Section 7.2.1: the first three groups are little-endian; zero means that there is none. */
function uuidBytes(uuid: string | undefined): Uint8Array {
  if (uuid === undefined) return new Uint8Array(16);
  const groups = uuid.split("-").map((group) => [...Uint8Array.fromHex(group)]);
  return Uint8Array.from(groups.flatMap((group, i) => i < 3 ? group.reverse() : group));
}

/** Section 7.4. */
function chassis(): Uint8Array {
  const SAFE = 3;
  return structure(Type.CHASSIS, handleOf(Type.CHASSIS), [
    ...[text(MAKER), byte(OTHER), text(VERSION), text(), text()],
    // Boot-up, power supply and thermal state; security.
    ...[byte(SAFE), byte(SAFE), byte(SAFE), byte(UNKNOWN)],
    // OEM's own, height, power cords, contained elements, SKU.
    ...[dword(0), byte(0), byte(0), byte(0), byte(0), text()],
  ]);
}

/** Section 7.5: one package. */
function processor({ cpus, processor }: SmbiosMachine): Uint8Array {
  const CENTRAL = 3;
  const POPULATED_AND_ENABLED = 0x41;
  const NO_CACHE = 0xffff;
  const Characteristic = { SIXTY_FOUR_BITS: 0x04, MULTI_CORE: 0x08 } as const;
  const characteristics = Characteristic.SIXTY_FOUR_BITS | (cpus > 1 ? Characteristic.MULTI_CORE : 0);
  return structure(Type.PROCESSOR, handleOf(Type.PROCESSOR), [
    ...[text("CPU 0"), byte(CENTRAL), byte(OTHER), text(processor.vendor)],
    ...[dword(processor.signature), dword(processor.features), text(processor.brand)],
    // Voltage, external clock, highest and current speed: unknown.
    ...[byte(0), word(0), word(0), word(0)],
    ...[byte(POPULATED_AND_ENABLED), byte(UNKNOWN), word(NO_CACHE), word(NO_CACHE), word(NO_CACHE)],
    // Serial number, asset tag, part number; cores, enabled ones, threads.
    ...[text(), text(), text(), byte(cpus), byte(cpus), byte(cpus)],
    ...[word(characteristics), word(OTHER)],
  ]);
}

/** Sections 7.17, 7.18 and 7.20: one array with one device, which is seen at one place, or below and above the hole under 4 GiB. */
function memory({ low, high }: RamSplit): Uint8Array[] {
  const SYSTEM_MEMORY = 3;
  const NO_ERROR_INFORMATION = 0xfffe;
  const array = structure(Type.MEMORY_ARRAY, handleOf(Type.MEMORY_ARRAY), [
    ...[byte(OTHER), byte(SYSTEM_MEMORY), byte(UNKNOWN), dword((low + high) / KIB), word(NO_ERROR_INFORMATION)],
    ...[word(1), qword(0)],
  ]);
  const ranges = [{ base: 0, size: low }, { base: RamLayout.HIGH_BASE, size: high }].filter(({ size }) => size > 0);
  const mappings = ranges.map(({ base, size }, i) =>
    structure(Type.MEMORY_MAPPING, handleOf(Type.MEMORY_MAPPING, i), [
      ...[dword(base / KIB), dword((base + size) / KIB - 1), word(handleOf(Type.MEMORY_ARRAY)), byte(1)],
      ...[qword(0), qword(0)],
    ])
  );
  return [array, memoryDevice(low + high), ...mappings];
}

/** Section 7.18. */
function memoryDevice(size: number): Uint8Array {
  const [NO_ERROR_INFORMATION, WIDTH_UNKNOWN] = [0xfffe, 0xffff];
  const [DIMM, RAM, TYPE_DETAIL_OTHER] = [0x09, 0x07, 0x0002];
  /** A size in MiB that is in the extended field. */
  const EXTENDED = 0x7fff;
  const mebibytes = size / MIB;
  return structure(Type.MEMORY_DEVICE, handleOf(Type.MEMORY_DEVICE), [
    ...[word(handleOf(Type.MEMORY_ARRAY)), word(NO_ERROR_INFORMATION), word(WIDTH_UNKNOWN), word(WIDTH_UNKNOWN)],
    ...[word(Math.min(mebibytes, EXTENDED)), byte(DIMM), byte(0), text("DIMM 0"), text(), byte(RAM)],
    ...[word(TYPE_DETAIL_OTHER), word(0), text(MAKER), text(), text(), text(), byte(0)],
    ...[dword(mebibytes >= EXTENDED ? mebibytes : 0), word(0), word(0), word(0), word(0)],
  ]);
}

/** Section 5.2.1: offsets in the 32-bit entry point. */
const EntryPoint = { CHECKSUM: 4, INTERMEDIATE: 0x10, INTERMEDIATE_CHECKSUM: 0x15, SIZE: 0x1f } as const;

interface EntryPointContents {
  readonly tables: Uint8Array;
  readonly count: number;
  /** Bytes of the largest structure. */
  readonly largest: number;
  readonly address: number;
}

function entryPoint({ tables, count, largest, address }: EntryPointContents): Uint8Array {
  const ascii = (characters: string) => [...characters].map((character) => character.charCodeAt(0));
  const bytes = Uint8Array.from([
    ...[...ascii("_SM_"), 0, EntryPoint.SIZE, 2, 8, ...littleEndian(largest, 2), 0, 0, 0, 0, 0, 0],
    ...[...ascii("_DMI_"), 0, ...littleEndian(tables.length, 2), ...littleEndian(address, 4)],
    ...[...littleEndian(count, 2), 0x28],
  ]);
  return withChecksums(bytes);
}

/** The second checksum covers the intermediate part, the first one all of it. */
function withChecksums(entryPoint: Uint8Array): Uint8Array {
  const bytes = entryPoint.slice();
  const sum = (start: number) => bytes.subarray(start).reduce((total, value) => total + value, 0);
  bytes[EntryPoint.CHECKSUM] = bytes[EntryPoint.INTERMEDIATE_CHECKSUM] = 0;
  bytes[EntryPoint.INTERMEDIATE_CHECKSUM] -= sum(EntryPoint.INTERMEDIATE);
  bytes[EntryPoint.CHECKSUM] -= sum(0);
  return bytes;
}

/** The table address in the entry point. */
const TABLE_ADDRESS = 0x18;
/** Entry points are searched at multiples of 16 in the BIOS's segment. */
const ENTRY_POINT_ALIGNMENT = 16;

/** Gives the tables an address in the BIOS's segment, for a kernel that is started without firmware. */
export function placeSmbios({ entryPoint, tables }: SmbiosImage): MemoryRegion[] {
  const { BIOS_BASE } = LegacyRegion;
  const address = BIOS_BASE + Math.ceil(entryPoint.length / ENTRY_POINT_ALIGNMENT) * ENTRY_POINT_ALIGNMENT;
  const placed = entryPoint.slice();
  placed.set(littleEndian(address, 4), TABLE_ADDRESS);
  return [{ gpa: BIOS_BASE, bytes: withChecksums(placed) }, { gpa: address, bytes: tables }];
}

/** The fw_cfg files by which firmware gets the tables (QEMU, hw/smbios/smbios.c; SeaBIOS, src/fw/biostables.c). */
export function smbiosFiles({ entryPoint, tables }: SmbiosImage): ReadonlyMap<string, Uint8Array> {
  return new Map([["etc/smbios/smbios-anchor", entryPoint], ["etc/smbios/smbios-tables", tables]]);
}
