/**
 * Reads a 64-bit x86 ELF program and adds one loadable segment to it (System V generic ABI, chapters 4 and 5).
 *
 * A program header table cannot grow: segments follow it without a gap. Its PT_NOTE entry, which only informs tools, gives
 * its place to the new PT_LOAD. Everything that the file held stays at its offset; the segment, the new section name table and
 * the new section header table follow.
 *
 * @module
 */

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const RELA_SIZE = 24;
const SYM_SIZE = 24;
const PAGE = 4096;

/** Offsets in the ELF header. */
const Ehdr = {
  TYPE: 16,
  MACHINE: 18,
  ENTRY: 24,
  PHOFF: 32,
  SHOFF: 40,
  PHENTSIZE: 54,
  PHNUM: 56,
  SHENTSIZE: 58,
  SHNUM: 60,
  SHSTRNDX: 62,
} as const;

const ET_DYN = 3;
const EM_X86_64 = 62;

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_NOTE = 4;
const PF_X = 1;
const PF_R = 4;

const SHT_PROGBITS = 1;
const SHT_STRTAB = 3;
const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;

const DT_NULL = 0;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_RELA = 7;
const DT_RELASZ = 8;

const R_X86_64_GLOB_DAT = 6;

/** A program header. Addresses are relative to where the program is loaded. */
export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

/** A section header, and its name's offset in the section name table. */
interface Section {
  readonly name: number;
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly align: number;
}

/** A program that was read. */
export interface ElfProgram {
  /** The whole file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Address of the entry point. */
  readonly entry: number;
  /** The program headers, in the file's order. */
  readonly segments: readonly Segment[];
}

/** Where a segment goes: its offset in the file and its address, both multiples of the page size. */
export interface Placement {
  readonly offset: number;
  readonly address: number;
}

/** Thrown for a file that is not such a program, or lacks what is needed to extend it. */
export class ElfError extends Error {
  override readonly name = "ElfError";
}

const align = (value: number, to: number) => Math.ceil(value / to) * to;

/** Little-endian access to a file; an access outside it is an ElfError. */
class Fields {
  readonly #view: DataView;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #at(offset: number, size: number): number {
    if (offset + size > this.#view.byteLength) {
      throw new ElfError(`The file ends before offset ${offset + size}, where its headers point`);
    }
    return offset;
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#at(offset, 2), true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(this.#at(offset, 4), true);
  }

  u64(offset: number): number {
    const value = Number(this.#view.getBigUint64(this.#at(offset, 8), true));
    if (!Number.isSafeInteger(value)) throw new ElfError(`The field at offset ${offset} is out of range: ${value}`);
    return value;
  }

  setU16(offset: number, value: number) {
    this.#view.setUint16(this.#at(offset, 2), value, true);
  }

  setU32(offset: number, value: number) {
    this.#view.setUint32(this.#at(offset, 4), value, true);
  }

  setU64(offset: number, ...values: number[]) {
    values.forEach((value, i) => this.#view.setBigUint64(this.#at(offset + 8 * i, 8), BigInt(value), true));
  }
}

/**
 * Reads a position-independent x86-64 program.
 *
 * @throws {ElfError} saying what the file is not.
 */
export function readElf(bytes: Uint8Array<ArrayBuffer>): ElfProgram {
  const magic = [0x7f, 0x45, 0x4c, 0x46];
  if (bytes.length < EHDR_SIZE || magic.some((byte, i) => bytes[i] !== byte)) throw new ElfError("Not an ELF file");
  // EI_CLASS, EI_DATA
  if (bytes[4] !== 2 || bytes[5] !== 1) throw new ElfError("Not a 64-bit little-endian ELF file");

  const fields = new Fields(bytes);
  if (fields.u16(Ehdr.MACHINE) !== EM_X86_64) throw new ElfError("Not a program for x86-64");
  if (fields.u16(Ehdr.TYPE) !== ET_DYN) throw new ElfError("Not a position-independent program");
  if (fields.u16(Ehdr.PHENTSIZE) !== PHDR_SIZE) throw new ElfError("Its program headers have an unknown size");

  const table = fields.u64(Ehdr.PHOFF);
  const segments = Array.from(
    { length: fields.u16(Ehdr.PHNUM) },
    (_, i) => readSegment(fields, table + i * PHDR_SIZE),
  );
  return { bytes, entry: fields.u64(Ehdr.ENTRY), segments };
}

function readSegment(fields: Fields, at: number): Segment {
  return {
    type: fields.u32(at),
    flags: fields.u32(at + 4),
    offset: fields.u64(at + 8),
    address: fields.u64(at + 16),
    fileSize: fields.u64(at + 32),
    memorySize: fields.u64(at + 40),
    align: fields.u64(at + 48),
  };
}

function writeSegment(fields: Fields, at: number, segment: Segment) {
  fields.setU32(at, segment.type);
  fields.setU32(at + 4, segment.flags);
  const { offset, address, fileSize, memorySize } = segment;
  fields.setU64(at + 8, offset, address, address, fileSize, memorySize, segment.align);
}

function readSection(fields: Fields, at: number): Section {
  return {
    name: fields.u32(at),
    type: fields.u32(at + 4),
    flags: fields.u64(at + 8),
    address: fields.u64(at + 16),
    offset: fields.u64(at + 24),
    size: fields.u64(at + 32),
    align: fields.u64(at + 48),
  };
}

/** Writes a section header; one that links to another section or has entries is not written by this module. */
function writeSection(fields: Fields, at: number, section: Section) {
  fields.setU32(at, section.name);
  fields.setU32(at + 4, section.type);
  fields.setU64(at + 8, section.flags, section.address, section.offset, section.size, 0, section.align, 0);
}

/** Where in the file a loaded address is. */
function fileOffset(program: ElfProgram, address: number): number {
  const segment = program.segments.find((segment) =>
    segment.type === PT_LOAD && address >= segment.address && address < segment.address + segment.fileSize
  );
  if (!segment) throw new ElfError(`No segment of the file holds address 0x${address.toString(16)}`);
  return address - segment.address + segment.offset;
}

/** The dynamic section's entries by tag (generic ABI, "Dynamic Section"); the first of a tag counts. */
function readDynamic(program: ElfProgram, fields: Fields): Map<number, number> {
  const segment = program.segments.find(({ type }) => type === PT_DYNAMIC);
  if (!segment) throw new ElfError("Not a dynamically linked program");
  const entries = new Map<number, number>();
  for (let at = segment.offset; at + 16 <= segment.offset + segment.fileSize; at += 16) {
    const tag = fields.u64(at);
    if (tag === DT_NULL) break;
    if (!entries.has(tag)) entries.set(tag, fields.u64(at + 8));
  }
  return entries;
}

/**
 * The address of the word that ld.so fills with a symbol's address: the symbol's entry in the global offset table.
 *
 * @param symbol A variable that the program takes from a library.
 * @throws {ElfError} if the program does not refer to it.
 */
export function findSymbolSlot(program: ElfProgram, symbol: string): number {
  const fields = new Fields(program.bytes);
  const dynamic = readDynamic(program, fields);
  const required = (tag: number) => {
    const value = dynamic.get(tag);
    if (value === undefined) throw new ElfError(`Its dynamic section lacks the entry with tag ${tag}`);
    return value;
  };
  const symbols = fileOffset(program, required(DT_SYMTAB));
  const strings = fileOffset(program, required(DT_STRTAB));
  const relocations = fileOffset(program, required(DT_RELA));
  const name = new TextEncoder().encode(symbol + "\0");

  for (let at = relocations; at < relocations + required(DT_RELASZ); at += RELA_SIZE) {
    // r_info: the symbol's index above, the type below.
    if (fields.u32(at + 8) !== R_X86_64_GLOB_DAT) continue;
    const found = strings + fields.u32(symbols + fields.u32(at + 12) * SYM_SIZE);
    if (name.every((byte, i) => program.bytes[found + i] === byte)) return fields.u64(at);
  }
  throw new ElfError(`The program does not use the variable ${symbol}`);
}

/** Where {@linkcode addSegment} will put its segment: on pages of its own behind the file and behind all segments. */
export function placeSegment(program: ElfProgram): Placement {
  const ends = program.segments.filter(({ type }) => type === PT_LOAD)
    .map(({ address, memorySize }) => address + memorySize);
  if (ends.length === 0) throw new ElfError("The program has no loadable segment");
  return { offset: align(program.bytes.length, PAGE), address: align(Math.max(...ends), PAGE) };
}

/**
 * The program with a readable and executable segment added, which execution enters at its first byte.
 *
 * The segment is given a section, too: `strip` and its like drop bytes that no section covers.
 *
 * @param name The section's name.
 * @param content The segment's bytes, made to lie where {@linkcode placeSegment} says.
 * @throws {ElfError} if the program has no PT_NOTE header or no section headers.
 */
export function addSegment(program: ElfProgram, name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { offset, address } = placeSegment(program);
  const sections = readSectionTable(program);
  const encodedName = new TextEncoder().encode(name + "\0");

  const namesAt = offset + align(content.length, 8);
  const namesSize = sections.names.length + encodedName.length;
  const sectionsAt = namesAt + align(namesSize, 8);
  const sectionsSize = sections.headers.length + SHDR_SIZE;

  const bytes = new Uint8Array(sectionsAt + sectionsSize);
  bytes.set(program.bytes);
  bytes.set(content, offset);
  bytes.set(sections.names, namesAt);
  bytes.set(encodedName, namesAt + sections.names.length);
  bytes.set(sections.headers, sectionsAt);

  const fields = new Fields(bytes);
  fields.setU64(Ehdr.ENTRY, address);
  fields.setU64(Ehdr.SHOFF, sectionsAt);
  fields.setU16(Ehdr.SHNUM, sections.count + 1);

  const size = content.length;
  const table = fields.u64(Ehdr.PHOFF);
  withSegment(program.segments, {
    ...{ type: PT_LOAD, flags: PF_R | PF_X, offset, address, fileSize: size, memorySize: size, align: PAGE },
  }).forEach((segment, i) => writeSegment(fields, table + i * PHDR_SIZE, segment));

  const namesHeader = sectionsAt + sections.namesIndex * SHDR_SIZE;
  writeSection(fields, namesHeader, { ...readSection(fields, namesHeader), offset: namesAt, size: namesSize });
  writeSection(fields, sectionsAt + sections.headers.length, {
    ...{ name: sections.names.length, type: SHT_PROGBITS, flags: SHF_ALLOC | SHF_EXECINSTR },
    ...{ address, offset, size, align: PAGE },
  });
  return bytes;
}

/** The program headers with PT_NOTE's place given to a segment; PT_LOAD entries ascend by address, as the ABI asks. */
function withSegment(segments: readonly Segment[], added: Segment): Segment[] {
  const note = segments.findIndex(({ type }) => type === PT_NOTE);
  if (note < 0) throw new ElfError("The program has no PT_NOTE header whose place a segment could take");
  const result = segments.toSpliced(note, 1);
  return result.toSpliced(result.findLastIndex(({ type }) => type === PT_LOAD) + 1, 0, added);
}

/** The section header table and the section name table, both as bytes. */
function readSectionTable({ bytes }: ElfProgram) {
  const fields = new Fields(bytes);
  const at = fields.u64(Ehdr.SHOFF);
  const count = fields.u16(Ehdr.SHNUM);
  const namesIndex = fields.u16(Ehdr.SHSTRNDX);
  if (at === 0 || namesIndex === 0 || namesIndex >= count) throw new ElfError("The program has no section headers");
  if (fields.u16(Ehdr.SHENTSIZE) !== SHDR_SIZE) throw new ElfError("Its section headers have an unknown size");

  const names = readSection(fields, at + namesIndex * SHDR_SIZE);
  if (names.type !== SHT_STRTAB || names.offset + names.size > bytes.length) {
    throw new ElfError("The program has no section name table");
  }
  const end = at + count * SHDR_SIZE;
  if (end > bytes.length) throw new ElfError("The file ends within its section headers");
  return {
    count,
    namesIndex,
    headers: bytes.subarray(at, end),
    names: bytes.subarray(names.offset, names.offset + names.size),
  };
}
