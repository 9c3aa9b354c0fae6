/**
 * Hand-made kernel images for the boot loaders' tests. Everything in them can be overridden, also with nonsense.
 *
 * @module
 */

import { GuestMemory } from "../../../../src/device/guest_memory.ts";
import type { BootRequest } from "../../../../src/vmm/boot/boot_request.ts";
import { kernelE820 } from "../../../../src/vmm/e820.ts";

const MIB = 0x10_0000;

/** A machine with `size` bytes of RAM below 4 GiB, filled with `fill`. */
export function machine(size = 8 * MIB, fill = 0): { ram: Uint8Array; request: BootRequest } {
  const ram = new Uint8Array(size).fill(fill);
  const request = {
    memory: new GuestMemory([{ gpa: 0, bytes: ram }]),
    e820: kernelE820({ low: size, high: 0 }),
    commandLine: "console=ttyS0",
  };
  return { ram, request };
}

/** A segment or note to put into an ELF file. */
export interface TestSegment {
  readonly type: number;
  readonly physical?: bigint;
  readonly bytes?: Uint8Array;
  /** Instead of where the bytes really are. */
  readonly offset?: bigint;
  readonly fileSize?: bigint;
  readonly memorySize?: bigint;
}

/** A note as ELF files hold it. */
export function note(name: string, type: number, descriptor: Uint8Array): Uint8Array {
  const nameBytes = new TextEncoder().encode(name + "\0");
  const pad = (size: number) => (size + 3) & ~3;
  const bytes = new Uint8Array(12 + pad(nameBytes.length) + pad(descriptor.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, nameBytes.length, true);
  view.setUint32(4, descriptor.length, true);
  view.setUint32(8, type, true);
  bytes.set(nameBytes, 12);
  bytes.set(descriptor, 12 + pad(nameBytes.length));
  return bytes;
}

/** A number as little-endian bytes. */
export function littleEndian(value: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => Math.floor(value / 2 ** (8 * index)) & 0xff);
}

/** The note that makes an ELF file a PVH kernel: XEN_ELFNOTE_PHYS32_ENTRY. */
export function pvhNote(entry: number, size: 4 | 8 = 8): TestSegment {
  return { type: 4, bytes: note("Xen", 18, littleEndian(entry, size)) };
}

/** A little-endian ELF64 file for x86-64. */
export function elf64(segments: readonly TestSegment[]): Uint8Array {
  const HEADER = 64;
  const ENTRY = 56;
  const total = segments.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), HEADER + ENTRY * segments.length);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  view.setBigUint64(32, BigInt(HEADER), true);
  view.setUint16(54, ENTRY, true);
  view.setUint16(56, segments.length, true);
  let at = HEADER + ENTRY * segments.length;
  segments.forEach((segment, index) => {
    const header = HEADER + ENTRY * index;
    const bytes = segment.bytes ?? new Uint8Array();
    view.setUint32(header, segment.type, true);
    view.setBigUint64(header + 8, segment.offset ?? BigInt(at), true);
    view.setBigUint64(header + 16, 0xffff_ffff_8000_0000n, true); // a virtual address, which no loader looks at
    view.setBigUint64(header + 24, segment.physical ?? 0n, true);
    view.setBigUint64(header + 32, segment.fileSize ?? BigInt(bytes.length), true);
    view.setBigUint64(header + 40, segment.memorySize ?? BigInt(bytes.length), true);
    file.set(bytes, at);
    at += bytes.length;
  });
  return file;
}

/** Fields of a bzImage's setup header, by their names in Linux's boot.rst. */
export interface SetupFields {
  setup_sects: number;
  syssize: number;
  boot_flag: number;
  jump_distance: number;
  magic: string;
  version: number;
  loadflags: number;
  initrd_addr_max: number;
  kernel_alignment: number;
  relocatable_kernel: number;
  xloadflags: number;
  cmdline_size: number;
  pref_address: bigint;
  init_size: number;
}

/** A bzImage whose protected-mode part is `kernel`. */
export function bzImage(kernel: Uint8Array, changes: Partial<SetupFields> = {}): Uint8Array {
  const fields: SetupFields = {
    setup_sects: 4,
    syssize: Math.ceil(kernel.length / 16),
    boot_flag: 0xaa55,
    jump_distance: 0x6a,
    magic: "HdrS",
    version: 0x020f,
    loadflags: 0x01,
    initrd_addr_max: 0x7fff_ffff,
    kernel_alignment: 0x1_0000,
    relocatable_kernel: 1,
    xloadflags: 0x0001,
    cmdline_size: 2047,
    pref_address: 0x10_0000n,
    init_size: 0x2_0000,
    ...changes,
  };
  const setupSize = ((fields.setup_sects || 4) + 1) * 512;
  const file = new Uint8Array(setupSize + kernel.length);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, fields.setup_sects);
  view.setUint32(0x1f4, fields.syssize, true);
  view.setUint16(0x1fe, fields.boot_flag, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, fields.jump_distance);
  file.set(new TextEncoder().encode(fields.magic), 0x202);
  view.setUint16(0x206, fields.version, true);
  view.setUint8(0x211, fields.loadflags);
  view.setUint32(0x22c, fields.initrd_addr_max, true);
  view.setUint32(0x230, fields.kernel_alignment, true);
  view.setUint8(0x234, fields.relocatable_kernel);
  view.setUint16(0x236, fields.xloadflags, true);
  view.setUint32(0x238, fields.cmdline_size, true);
  view.setBigUint64(0x258, fields.pref_address, true);
  view.setUint32(0x260, fields.init_size, true);
  file.set(kernel, setupSize);
  return file;
}

/** Bytes that differ from their neighbours. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 1) & 0xff);
}

/** The NUL-terminated text at `at`. */
export function textAt(ram: Uint8Array, at: number): string {
  return new TextDecoder().decode(ram.subarray(at, ram.indexOf(0, at)));
}
