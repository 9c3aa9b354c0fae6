/**
 * The Linux boot protocol for x86, 64-bit entry: a bzImage is loaded and entered in long mode at its start plus 0x200.
 *
 * Source: Linux `Documentation/arch/x86/boot.rst` ("The Real-Mode Kernel Header", "64-bit Boot Protocol") and
 * `Documentation/arch/x86/zero-page.rst`.
 *
 * @module
 */

import { encodeE820 } from "../e820.ts";
import {
  type AddressRange,
  BootImageError,
  BootLayout,
  type BootRequest,
  hex,
  holds,
  LOAD_LIMIT,
  loadableRanges,
  loadInitrd,
  showRange,
  without,
  writeBootData,
  writeCommandLine,
} from "./boot_request.ts";
import { CpuBit, encodeDescriptor, flatCode, flatData, idleTask, type InitialCpuState } from "./cpu_state.ts";

/** Offsets in the file's first sectors, and the same in `struct boot_params` from 0x1f1 on. */
const Header = {
  START: 0x1f1,
  SETUP_SECTS: 0x1f1,
  SYSSIZE: 0x1f4,
  BOOT_FLAG: 0x1fe,
  /** The second byte of the short jump over the header: where the header ends, from 0x202. */
  JUMP_DISTANCE: 0x201,
  MAGIC: 0x202,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  CMD_LINE_PTR: 0x228,
  INITRD_ADDR_MAX: 0x22c,
  KERNEL_ALIGNMENT: 0x230,
  RELOCATABLE_KERNEL: 0x234,
  XLOADFLAGS: 0x236,
  CMDLINE_SIZE: 0x238,
  PREF_ADDRESS: 0x258,
  INIT_SIZE: 0x260,
  /** Where the header of protocol 2.12 ends. */
  END: 0x268,
  /** Where other fields of `struct boot_params` follow, whatever the header says of its length. */
  MAX_END: 0x290,
} as const;

/** Fields of `struct boot_params` outside the header. */
const BootParams = { ACPI_RSDP_ADDR: 0x070, E820_ENTRIES: 0x1e8, E820_TABLE: 0x2d0, SIZE: 0x1000 } as const;

const BOOT_FLAG = 0xaa55;
const MAGIC = 0x5372_6448; // "HdrS"
/** The first protocol with xloadflags. */
const MINIMUM_VERSION = 0x020c;
const LOADED_HIGH = 0x01;
const XLF_KERNEL_64 = 0x0001;
const ENTRY_OFFSET = 0x200;
const SECTOR = 512;
/** type_of_loader of a loader without a number of its own. */
const UNDEFINED_LOADER = 0xff;
const E820_MAX_ENTRIES = 128;
/** Kernels ask for 2 MiB; beyond 1 GiB the field is nonsense. */
const MAX_ALIGNMENT = 0x4000_0000;

const CODE_SELECTOR = 0x10; // __BOOT_CS
const DATA_SELECTOR = 0x18; // __BOOT_DS
const TASK_SELECTOR = 0x20; // __BOOT_TSS

/** What the setup header says of the kernel; checked. */
interface Setup {
  /** The header itself, from {@linkcode Header.START}. */
  readonly header: Uint8Array;
  /** The protected-mode part: what is loaded. */
  readonly kernel: Uint8Array;
  readonly preferredAddress: number;
  readonly relocatable: boolean;
  readonly alignment: number;
  /** How much memory the kernel needs from its start until it has seen the memory map. */
  readonly initSize: number;
  readonly initrdMax: number;
  readonly commandLineMax: number;
}

/** Whether the image has the Linux boot protocol's magic numbers. */
export function isBzImage(image: Uint8Array): boolean {
  if (image.length < Header.MAGIC + 4) return false;
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  return view.getUint16(Header.BOOT_FLAG, true) === BOOT_FLAG && view.getUint32(Header.MAGIC, true) === MAGIC;
}

/**
 * Loads a 64-bit Linux kernel.
 *
 * @param image The bzImage; may be hostile.
 * @returns The state of the boot processor: long mode over an identity map of the first 4 GiB, RSI points at
 * `boot_params`.
 * @throws {BootImageError} See {@linkcode loadKernel}.
 */
export function loadBzImage(image: Uint8Array, request: BootRequest): InitialCpuState {
  const setup = readSetup(image);
  const loadable = loadableRanges(request.e820);
  const place = placeKernel(setup, loadable);
  const ram = request.memory.view(place.start, setup.initSize);
  if (ram === undefined) throw new BootImageError(`loads at ${showRange(place)}, where no RAM is`);
  ram.set(setup.kernel);
  const initrd = loadInitrd(request, without(loadable, place), Math.min(setup.initrdMax + 1, LOAD_LIMIT));
  writeCommandLine(request, setup.commandLineMax);
  writeBootParams(setup, request, initrd);
  writePageTables(request);
  writeGdt(request);
  return entryState(place.start + ENTRY_OFFSET);
}

function readSetup(image: Uint8Array): Setup {
  if (image.length < Header.END) throw new BootImageError("is a bzImage that ends inside its header");
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const u32 = (at: number) => view.getUint32(at, true);
  checkFeatures(view);
  const headerEnd = Header.MAGIC + view.getUint8(Header.JUMP_DISTANCE);
  if (headerEnd < Header.END || headerEnd > image.length) {
    throw new BootImageError(`has a setup header that ends at ${hex(headerEnd)}`);
  }
  // Zero means 4, from times before the field was there.
  const setupSize = ((view.getUint8(Header.SETUP_SECTS) || 4) + 1) * SECTOR;
  const kernelSize = u32(Header.SYSSIZE) * 16;
  // The size counts in paragraphs: the last one may end beyond the file.
  if (kernelSize <= ENTRY_OFFSET || setupSize + kernelSize > image.length + 15) {
    throw new BootImageError(`is truncated: its header speaks of ${setupSize + kernelSize} bytes`);
  }
  const kernel = image.subarray(setupSize, setupSize + kernelSize);
  const preferred = view.getBigUint64(Header.PREF_ADDRESS, true);
  return {
    header: image.subarray(Header.START, Math.min(headerEnd, Header.MAX_END)),
    kernel,
    preferredAddress: preferred < BigInt(LOAD_LIMIT) ? Number(preferred) : LOAD_LIMIT,
    relocatable: view.getUint8(Header.RELOCATABLE_KERNEL) !== 0,
    alignment: checkAlignment(u32(Header.KERNEL_ALIGNMENT)),
    initSize: Math.max(u32(Header.INIT_SIZE), kernel.length),
    initrdMax: u32(Header.INITRD_ADDR_MAX),
    commandLineMax: u32(Header.CMDLINE_SIZE),
  };
}

function checkFeatures(view: DataView): void {
  const version = view.getUint16(Header.VERSION, true);
  if (version < MINIMUM_VERSION) {
    const number = `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
    throw new BootImageError(`speaks version ${number} of the Linux boot protocol; 2.12 or later is needed`);
  }
  if ((view.getUint8(Header.LOADFLAGS) & LOADED_HIGH) === 0) {
    throw new BootImageError("is a zImage for low memory; a bzImage is needed");
  }
  if ((view.getUint16(Header.XLOADFLAGS, true) & XLF_KERNEL_64) === 0) {
    throw new BootImageError("is a Linux kernel without a 64-bit entry point (XLF_KERNEL_64)");
  }
}

function checkAlignment(alignment: number): number {
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0 || alignment > MAX_ALIGNMENT) {
    throw new BootImageError(`asks for an alignment of ${hex(alignment)}`);
  }
  return alignment;
}

/** The kernel's preferred address, or else the lowest aligned one where it fits. */
function placeKernel(setup: Setup, loadable: readonly AddressRange[]): AddressRange {
  const preferred = { start: setup.preferredAddress, end: setup.preferredAddress + setup.initSize };
  if (holds(loadable, preferred)) return preferred;
  if (!setup.relocatable) {
    throw new BootImageError(`must be loaded at ${showRange(preferred)}, which is not usable RAM of this machine`);
  }
  for (const range of loadable) {
    const start = Math.ceil(range.start / setup.alignment) * setup.alignment;
    if (start + setup.initSize <= range.end) return { start, end: start + setup.initSize };
  }
  throw new BootImageError(`needs ${setup.initSize} bytes of RAM in one piece below 4 GiB`);
}

function writeBootParams(setup: Setup, request: BootRequest, initrd: AddressRange | undefined): void {
  const { e820, rsdpAddress = 0 } = request;
  if (e820.length > E820_MAX_ENTRIES) throw new BootImageError(`cannot be told of ${e820.length} memory ranges`);
  const bytes = new Uint8Array(BootParams.SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set(setup.header, Header.START);
  view.setUint8(Header.TYPE_OF_LOADER, UNDEFINED_LOADER);
  view.setUint32(Header.CMD_LINE_PTR, BootLayout.COMMAND_LINE, true);
  view.setUint32(Header.RAMDISK_IMAGE, initrd === undefined ? 0 : initrd.start, true);
  view.setUint32(Header.RAMDISK_SIZE, initrd === undefined ? 0 : initrd.end - initrd.start, true);
  view.setBigUint64(BootParams.ACPI_RSDP_ADDR, BigInt(rsdpAddress), true);
  view.setUint8(BootParams.E820_ENTRIES, e820.length);
  bytes.set(encodeE820(e820), BootParams.E820_TABLE);
  writeBootData(request.memory, BootLayout.BOOT_PARAMS, bytes);
}

/** Identity-maps the first 4 GiB with 2 MiB pages (SDM volume 3, section 4.5). */
function writePageTables(request: BootRequest): void {
  const PRESENT_WRITABLE = 0x3n;
  const LARGE = 0x80n;
  const gibibytes = LOAD_LIMIT / 0x4000_0000;
  const tables = new BigUint64Array((2 + gibibytes) * 512);
  const tableAt = (index: number) => BigInt(BootLayout.PAGE_TABLES + index * 0x1000);
  tables[0] = tableAt(1) | PRESENT_WRITABLE;
  for (let index = 0; index < gibibytes; index++) tables[512 + index] = tableAt(2 + index) | PRESENT_WRITABLE;
  for (let page = 0; page < gibibytes * 512; page++) {
    tables[1024 + page] = BigInt(page) * 0x20_0000n | PRESENT_WRITABLE | LARGE;
  }
  writeBootData(request.memory, BootLayout.PAGE_TABLES, new Uint8Array(tables.buffer));
}

/** Selectors as boot.rst asks for them; the task register's descriptor takes two entries in long mode. */
function bootSegments() {
  return { cs: flatCode(CODE_SELECTOR, 64), data: flatData(DATA_SELECTOR), tr: idleTask(TASK_SELECTOR) };
}

const GDT_ENTRIES = 6;

function writeGdt(request: BootRequest): void {
  const gdt = new BigUint64Array(GDT_ENTRIES);
  for (const segment of Object.values(bootSegments())) gdt[segment.selector / 8] = encodeDescriptor(segment);
  writeBootData(request.memory, BootLayout.GDT, new Uint8Array(gdt.buffer));
}

function entryState(entry: number): InitialCpuState {
  return {
    rip: entry,
    rsp: 0,
    rbx: 0,
    rsi: BootLayout.BOOT_PARAMS,
    rflags: CpuBit.RFLAGS_FIXED,
    ...bootSegments(),
    gdt: { base: BootLayout.GDT, limit: GDT_ENTRIES * 8 - 1 },
    idt: { base: 0, limit: 0 },
    cr0: CpuBit.CR0_PE + CpuBit.CR0_ET + CpuBit.CR0_PG,
    cr3: BootLayout.PAGE_TABLES,
    cr4: CpuBit.CR4_PAE,
    efer: CpuBit.EFER_LME | CpuBit.EFER_LMA,
  };
}
