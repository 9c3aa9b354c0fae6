/**
 * Wraps flat 32-bit code into the smallest ELF file that PVH boot loaders take: one segment to load, one note that
 * names the entry point.
 *
 * Sources: System V ABI (generic), chapters 4 and 5; Xen `xen/include/public/elfnote.h` (XEN_ELFNOTE_PHYS32_ENTRY).
 *
 * @module
 */

/** What to wrap. Addresses are physical. */
export interface PvhProgram {
  readonly code: Uint8Array;
  /** Where the code is loaded: a multiple of 4. */
  readonly loadAddress: number;
  /** Where the processor enters it, in 32-bit protected mode. */
  readonly entry: number;
  /** Bytes of RAM from `loadAddress` on that the program uses; what the code does not fill starts as zero. */
  readonly memorySize: number;
}

const EHDR_SIZE = 52;
const PHDR_SIZE = 32;
/** `namesz, descsz, type`, "Xen\0", the address. */
const NOTE_SIZE = 20;
const NOTE_OFFSET = EHDR_SIZE + 2 * PHDR_SIZE;
const CODE_OFFSET = NOTE_OFFSET + NOTE_SIZE;

const ET_EXEC = 2;
const EM_386 = 3;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_RWX = 7;
const PF_R = 4;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** The ELF file. */
export function buildPvhElf({ code, loadAddress, entry, memorySize }: PvhProgram): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(CODE_OFFSET + code.length);
  const view = new DataView(file.buffer);
  const u32 = (at: number, ...values: number[]) =>
    values.forEach((value, index) => view.setUint32(at + 4 * index, value, true));
  const u16 = (at: number, ...values: number[]) =>
    values.forEach((value, index) => view.setUint16(at + 2 * index, value, true));

  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]); // ELFCLASS32, ELFDATA2LSB, EV_CURRENT
  u16(16, ET_EXEC, EM_386);
  u32(20, 1, entry, EHDR_SIZE, 0, 0); // e_version, e_entry, e_phoff, e_shoff, e_flags
  u16(40, EHDR_SIZE, PHDR_SIZE, 2, 40, 0, 0);

  // p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align
  u32(EHDR_SIZE, PT_LOAD, CODE_OFFSET, loadAddress, loadAddress, code.length, memorySize, PF_RWX, 4);
  u32(EHDR_SIZE + PHDR_SIZE, PT_NOTE, NOTE_OFFSET, 0, 0, NOTE_SIZE, NOTE_SIZE, PF_R, 4);

  u32(NOTE_OFFSET, 4, 4, XEN_ELFNOTE_PHYS32_ENTRY);
  file.set(new TextEncoder().encode("Xen\0"), NOTE_OFFSET + 12);
  u32(NOTE_OFFSET + 16, entry);

  file.set(code, CODE_OFFSET);
  return file;
}
