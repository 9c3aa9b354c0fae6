/**
 * The guest's memory map as firmware and boot loaders hand it over: the e820 table.
 *
 * Sources: ACPI specification 6.4, section 15 (types and rules); Linux `arch/x86/include/uapi/asm/e820.h` for the
 * packed form, which QEMU's fw_cfg file `etc/e820` shares.
 *
 * @module
 */

import { FirmwareLayout, KvmLayout, MmioLayout, RamLayout, type RamSplit } from "./layout.ts";

/** What a range is (ACPI 6.4, table 15.1). */
export const E820Type = {
  USABLE: 1,
  RESERVED: 2,
  /** RAM that holds ACPI tables; the guest may reuse it once it has read them. */
  ACPI: 3,
} as const;

/** A range of guest-physical addresses. */
export interface E820Entry {
  /** First address. */
  readonly base: number;
  /** Bytes; at least 1. */
  readonly size: number;
  /** One of {@linkcode E820Type}. */
  readonly type: number;
}

/** Size of an entry in the packed form: `u64 base; u64 size; u32 type`. */
export const E820_ENTRY_SIZE = 20;

/** Below the VGA hole, 1 KiB is left to an extended BIOS data area, where PCs have it. */
const EBDA_BASE = 0x9_fc00;
/** Where PCs have their BIOS: reserved, so that no guest takes it for RAM. */
const BIOS_BASE = 0xf_0000;

/** What lies in every machine of ours, whatever its RAM: KVM's own pages and all of the flash above them. */
const RESERVED_AT_TOP: E820Entry = {
  base: KvmLayout.IDENTITY_MAP_BASE,
  size: FirmwareLayout.END - KvmLayout.IDENTITY_MAP_BASE,
  type: E820Type.RESERVED,
};

/**
 * The map that firmware starts from (fw_cfg `etc/e820`): all RAM, and what firmware cannot find out. Firmware itself
 * takes out the legacy hole, its own data and the ACPI tables.
 */
export function firmwareE820(ram: RamSplit): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, size: ram.low, type: E820Type.USABLE },
    { base: KvmLayout.IDENTITY_MAP_BASE, size: KvmLayout.RESERVED_SIZE, type: E820Type.RESERVED },
  ];
  if (ram.high > 0) entries.push({ base: RamLayout.HIGH_BASE, size: ram.high, type: E820Type.USABLE });
  return entries;
}

/**
 * The map for a kernel that is booted without firmware: complete, by ascending address, without overlaps.
 *
 * @param acpiTables Where the ACPI tables lie in RAM; taken out of the usable ranges.
 */
export function kernelE820(ram: RamSplit, acpiTables?: { readonly base: number; readonly size: number }): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, size: Math.min(ram.low, EBDA_BASE), type: E820Type.USABLE },
    { base: EBDA_BASE, size: RamLayout.CONVENTIONAL_END - EBDA_BASE, type: E820Type.RESERVED },
    { base: BIOS_BASE, size: RamLayout.EXTENDED_BASE - BIOS_BASE, type: E820Type.RESERVED },
    { base: RamLayout.EXTENDED_BASE, size: ram.low - RamLayout.EXTENDED_BASE, type: E820Type.USABLE },
    { base: MmioLayout.ECAM_BASE, size: MmioLayout.ECAM_SIZE, type: E820Type.RESERVED },
    RESERVED_AT_TOP,
    { base: RamLayout.HIGH_BASE, size: ram.high, type: E820Type.USABLE },
  ].filter((entry) => entry.size > 0);
  if (acpiTables === undefined) return entries;
  return assignRange(entries, { ...acpiTables, type: E820Type.ACPI });
}

/** Gives a range a type: whatever the map said about it before is cut out. */
export function assignRange(entries: readonly E820Entry[], range: E820Entry): E820Entry[] {
  const end = range.base + range.size;
  const rest = entries.flatMap((entry) => {
    const entryEnd = entry.base + entry.size;
    const before = { ...entry, size: Math.min(entryEnd, range.base) - entry.base };
    const afterBase = Math.max(entry.base, end);
    const after = { ...entry, base: afterBase, size: entryEnd - afterBase };
    return [before, after].filter((part) => part.size > 0);
  });
  return [...rest, range].sort((a, b) => a.base - b.base);
}

/** The packed form, little-endian: {@linkcode E820_ENTRY_SIZE} bytes an entry. */
export function encodeE820(entries: readonly E820Entry[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(entries.length * E820_ENTRY_SIZE));
  entries.forEach(({ base, size, type }, index) => {
    const at = index * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(base), true);
    view.setBigUint64(at + 8, BigInt(size), true);
    view.setUint32(at + 16, type, true);
  });
  return new Uint8Array(view.buffer);
}
