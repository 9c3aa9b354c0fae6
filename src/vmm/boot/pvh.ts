/**
 * The PVH boot protocol: an ELF kernel is entered in 32-bit protected mode with a pointer to a description of the
 * machine.
 *
 * Sources: Xen `docs/misc/pvh.pandoc` (entry state), `xen/include/public/arch-x86/hvm/start_info.h` (structures) and
 * `xen/include/public/elfnote.h` (the note).
 *
 * @module
 */

import {
  type AddressRange,
  BootImageError,
  BootLayout,
  type BootRequest,
  hex,
  holds,
  loadableRanges,
  loadInitrd,
  showRange,
  without,
  writeBootData,
  writeCommandLine,
} from "./boot_request.ts";
import { CpuBit, flatCode, flatData, idleTask, type InitialCpuState } from "./cpu_state.ts";
import { type ElfNote, type ElfSegment, ElfSegmentType, readNotes, readSegments } from "./elf.ts";

const XEN_NOTE_NAME = "Xen";
/** XEN_ELFNOTE_PHYS32_ENTRY: the descriptor is the physical address of the entry point, in 4 or 8 bytes. */
const PHYS32_ENTRY = 18;

/** struct hvm_start_info, version 1. */
const StartInfo = {
  MAGIC: 0,
  VERSION: 4,
  FLAGS: 8,
  MODULE_COUNT: 12,
  MODULE_LIST: 16,
  COMMAND_LINE: 24,
  RSDP: 32,
  MEMORY_MAP: 40,
  MEMORY_MAP_ENTRIES: 48,
  SIZE: 56,
} as const;
const START_INFO_MAGIC = 0x336e_c578;
/** struct hvm_modlist_entry: `u64 paddr, size, cmdline_paddr, reserved`. */
const MODULE_ENTRY_SIZE = 32;
/** struct hvm_memmap_table_entry: `u64 addr, size; u32 type, reserved`. */
const MEMORY_MAP_ENTRY_SIZE = 24;

/**
 * Loads a PVH kernel.
 *
 * @param image The ELF file; may be hostile.
 * @returns The state of the boot processor: 32-bit protected mode, paging off, EBX points at the start info.
 * @throws {BootImageError} See {@linkcode loadKernel}.
 */
export function loadPvh(image: Uint8Array, request: BootRequest): InitialCpuState {
  const segments = readSegments(image);
  const entry = findEntry(readNotes(image, segments));
  const loadable = loadableRanges(request.e820);
  const loaded = loadSegments(image, segments, request, loadable);
  if (!holds(loaded, { start: entry, end: entry + 1 })) {
    throw new BootImageError(`has its PVH entry point ${hex(entry)} outside of what it loads`);
  }
  const free = loaded.reduce(without, loadable);
  const initrd = loadInitrd(request, free);
  writeCommandLine(request);
  writeStartInfo(request, initrd);
  return entryState(entry);
}

function findEntry(notes: readonly ElfNote[]): number {
  const note = notes.find(({ name, type }) => name === XEN_NOTE_NAME && type === PHYS32_ENTRY);
  if (note === undefined) {
    throw new BootImageError("is an ELF file without a PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY)");
  }
  const { descriptor } = note;
  if (descriptor.length !== 4 && descriptor.length !== 8) {
    throw new BootImageError(`has a PVH entry note of ${descriptor.length} bytes; 4 or 8 were expected`);
  }
  const view = new DataView(descriptor.buffer, descriptor.byteOffset, descriptor.byteLength);
  if (descriptor.length === 8 && view.getUint32(4, true) !== 0) {
    throw new BootImageError("has a PVH entry point above 4 GiB");
  }
  return view.getUint32(0, true);
}

/** All is checked before the first byte is written. */
function loadSegments(
  image: Uint8Array,
  segments: readonly ElfSegment[],
  request: BootRequest,
  loadable: readonly AddressRange[],
): AddressRange[] {
  const load = segments.filter(({ type, memorySize }) => type === ElfSegmentType.LOAD && memorySize > 0);
  const ranges = load.map(({ physical, memorySize }) => ({ start: physical, end: physical + memorySize }));
  ranges.forEach((range, index) => {
    if (!holds(loadable, range)) {
      throw new BootImageError(`loads at ${showRange(range)}, which is not usable RAM of this machine`);
    }
    const other = ranges.slice(0, index).find(({ start, end }) => start < range.end && range.start < end);
    if (other !== undefined) {
      throw new BootImageError(`has overlapping segments at ${showRange(other)} and ${showRange(range)}`);
    }
  });
  load.forEach(({ offset, physical, fileSize, memorySize }, index) => {
    const ram = request.memory.view(physical, memorySize);
    if (ram === undefined) throw new BootImageError(`loads at ${showRange(ranges[index])}, where no RAM is`);
    ram.set(image.subarray(offset, offset + fileSize));
    ram.fill(0, fileSize);
  });
  return ranges;
}

function writeStartInfo(request: BootRequest, initrd: AddressRange | undefined): void {
  const { e820, rsdpAddress = 0 } = request;
  const modulesAt = StartInfo.SIZE;
  const mapAt = modulesAt + (initrd === undefined ? 0 : MODULE_ENTRY_SIZE);
  const size = mapAt + e820.length * MEMORY_MAP_ENTRY_SIZE;
  if (size > BootLayout.START_INFO_SIZE) throw new BootImageError(`cannot be told of ${e820.length} memory ranges`);
  const view = new DataView(new ArrayBuffer(size));
  const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  view.setUint32(StartInfo.MAGIC, START_INFO_MAGIC, true);
  view.setUint32(StartInfo.VERSION, 1, true);
  u64(StartInfo.COMMAND_LINE, BootLayout.COMMAND_LINE);
  u64(StartInfo.RSDP, rsdpAddress);
  u64(StartInfo.MEMORY_MAP, BootLayout.START_INFO + mapAt);
  view.setUint32(StartInfo.MEMORY_MAP_ENTRIES, e820.length, true);
  if (initrd !== undefined) {
    view.setUint32(StartInfo.MODULE_COUNT, 1, true);
    u64(StartInfo.MODULE_LIST, BootLayout.START_INFO + modulesAt);
    u64(modulesAt, initrd.start);
    u64(modulesAt + 8, initrd.end - initrd.start);
  }
  e820.forEach((range, index) => {
    const at = mapAt + index * MEMORY_MAP_ENTRY_SIZE;
    u64(at, range.base);
    u64(at + 8, range.size);
    view.setUint32(at + 16, range.type, true);
  });
  writeBootData(request.memory, BootLayout.START_INFO, new Uint8Array(view.buffer));
}

/** The registers as pvh.pandoc asks for them. Selectors are unspecified there; there is no GDT behind these. */
function entryState(entry: number): InitialCpuState {
  return {
    rip: entry,
    rsp: 0,
    rbx: BootLayout.START_INFO,
    rsi: 0,
    rflags: CpuBit.RFLAGS_FIXED,
    cs: flatCode(0x8, 32),
    data: flatData(0x10),
    tr: idleTask(0x18),
    gdt: { base: 0, limit: 0 },
    idt: { base: 0, limit: 0 },
    cr0: CpuBit.CR0_PE | CpuBit.CR0_ET,
    cr3: 0,
    cr4: 0,
    efer: 0,
  };
}
