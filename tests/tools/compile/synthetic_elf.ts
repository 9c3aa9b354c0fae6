/**
 * A small ELF program for the tests: headers, one code segment, one data segment with a dynamic section, a note, and the
 * sections that name them. It is never run.
 *
 * @module
 */

const PHDR = 56;
const SHDR = 64;

/** A program header as the tests see it. */
export type Header = readonly [
  type: number,
  flags: number,
  offset: number,
  address: number,
  file: number,
  memory: number,
];

export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_NOTE = 4;

const SIZE = 0x1200;
const DYNAMIC_AT = 0x300;
const SYMBOLS_AT = 0x400;
const STRINGS_AT = 0x500;
const RELOCATIONS_AT = 0x600;
const NAMES_AT = 0x1000;
const SECTIONS_AT = 0x1100;

/** The address where the data segment ends in memory, past its bytes in the file: it has a .bss. */
export const MEMORY_END = 0x9123;
/** The entry point. */
export const ENTRY = 0x1040;
/** The address of the word that is relocated with the address of `environ`. */
export const ENVIRON_SLOT = 0x8f40;

const NOTE: Header = [PT_NOTE, 4, 0x280, 0x280, 0x20, 0x20];
const LOADS: readonly Header[] = [
  [PT_LOAD, 5, 0, 0, 0x800, 0x800],
  [PT_LOAD, 6, 0x800, 0x8800, 0x800, MEMORY_END - 0x8800],
];
const DYNAMIC: Header = [PT_DYNAMIC, 6, DYNAMIC_AT, DYNAMIC_AT, 0x50, 0x50];

/** The usual order of program headers. */
export const HEADERS: readonly Header[] = [...LOADS, DYNAMIC, NOTE];
/** The note before the loadable segments. */
export const NOTE_FIRST: readonly Header[] = [NOTE, ...LOADS, DYNAMIC];
/** No note. */
export const NO_NOTE: readonly Header[] = [...LOADS, DYNAMIC];

/** A program whose program headers are those. */
export function syntheticElf(headers: readonly Header[] = HEADERS): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SIZE).map((_, i) => i % 251);
  bytes.fill(0, 0, 0x280);
  const view = new DataView(bytes.buffer);
  const u64 = (at: number, ...values: number[]) =>
    values.forEach((value, i) => view.setBigUint64(at + 8 * i, BigInt(value), true));
  const text = (at: number, value: string) => bytes.set(new TextEncoder().encode(value), at);

  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  [3, 62].forEach((value, i) => view.setUint16(16 + 2 * i, value, true)); // ET_DYN, EM_X86_64
  u64(24, ENTRY, 64, SECTIONS_AT); // e_entry, e_phoff, e_shoff
  [64, PHDR, headers.length, SHDR, 2, 1].forEach((value, i) => view.setUint16(52 + 2 * i, value, true));

  headers.forEach(([type, flags, offset, address, file, memory], i) => {
    view.setUint32(64 + i * PHDR, type, true);
    view.setUint32(64 + i * PHDR + 4, flags, true);
    u64(64 + i * PHDR + 8, offset, address, address, file, memory, 0x1000);
  });

  // DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_NULL
  u64(DYNAMIC_AT, 5, STRINGS_AT, 6, SYMBOLS_AT, 7, RELOCATIONS_AT, 8, 3 * 24, 0, 0);
  text(STRINGS_AT, "\0environment\0environ\0");
  [0, 1, 13].forEach((name, i) => {
    bytes.fill(0, SYMBOLS_AT + 24 * i, SYMBOLS_AT + 24 * (i + 1));
    view.setUint32(SYMBOLS_AT + 24 * i, name, true);
  });
  // R_X86_64_RELATIVE, then R_X86_64_GLOB_DAT against the symbols 1 and 2.
  const relocations: [slot: number, symbol: number, type: number][] = [
    [0x8f00, 0, 8],
    [0x8f20, 1, 6],
    [ENVIRON_SLOT, 2, 6],
  ];
  relocations.forEach(([slot, symbol, type], i) => {
    u64(RELOCATIONS_AT + 24 * i, slot);
    view.setUint32(RELOCATIONS_AT + 24 * i + 8, type, true);
    view.setUint32(RELOCATIONS_AT + 24 * i + 12, symbol, true);
  });

  bytes.fill(0, SECTIONS_AT, SECTIONS_AT + 2 * SHDR);
  text(NAMES_AT, "\0.shstrtab\0");
  view.setUint32(SECTIONS_AT + SHDR, 1, true); // sh_name
  view.setUint32(SECTIONS_AT + SHDR + 4, 3, true); // SHT_STRTAB
  u64(SECTIONS_AT + SHDR + 24, NAMES_AT, 11, 0, 1); // sh_offset, sh_size, sh_link and sh_info, sh_addralign
  return bytes;
}
