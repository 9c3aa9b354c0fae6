/**
 * Reads as much of an ELF executable as booting it needs: program headers and notes.
 *
 * Source: System V ABI (generic), chapters 4 and 5: ELF header, program header, note section.
 *
 * @module
 */

import { BootImageError, hex } from "./boot_request.ts";

/** A program header; addresses and sizes are safe integers, and the file's part lies inside the file. */
export interface ElfSegment {
  readonly type: number;
  /** Offset in the file. */
  readonly offset: number;
  /** Physical address. */
  readonly physical: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

/** A note: `name` is without its NUL, `descriptor` a view into the image. */
export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly descriptor: Uint8Array;
}

/** Program header types. */
export const ElfSegmentType = { LOAD: 1, NOTE: 4 } as const;

const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const CLASS_32 = 1;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const TYPE_EXECUTABLE = 2;
const TYPE_SHARED = 3;
const MACHINE_386 = 3;
const MACHINE_X86_64 = 62;
/** Far more than a kernel has: Linux's has five. */
const MAX_SEGMENTS = 128;
/** A kernel's notes are a few hundred bytes. */
const MAX_NOTES = 1024;

/** Where the fields are, by class (figures 4-3 and 5-1). */
const LAYOUT = {
  [CLASS_32]: {
    header: 52,
    phoff: 28,
    phentsize: 42,
    phnum: 44,
    entry: 32,
    offset: 4,
    paddr: 12,
    filesz: 16,
    memsz: 20,
  },
  [CLASS_64]: {
    header: 64,
    phoff: 32,
    phentsize: 54,
    phnum: 56,
    entry: 56,
    offset: 8,
    paddr: 24,
    filesz: 32,
    memsz: 40,
  },
} as const;

/** Whether the image starts as ELF files do. */
export function isElf(image: Uint8Array): boolean {
  return MAGIC.every((byte, index) => image[index] === byte);
}

/**
 * The program headers of an x86 executable of either class.
 *
 * @throws {BootImageError} when a header is not what an x86 executable has, or points outside the file.
 */
export function readSegments(image: Uint8Array): ElfSegment[] {
  if (image.length < LAYOUT[CLASS_32].header) throw new BootImageError("is an ELF file that ends inside its header");
  const elfClass = image[4];
  const layout = elfClass === CLASS_32 || elfClass === CLASS_64 ? LAYOUT[elfClass] : undefined;
  if (layout === undefined) throw new BootImageError(`is an ELF file of unknown class ${elfClass}`);
  if (image.length < layout.header) throw new BootImageError("is an ELF file that ends inside its header");
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  checkIdentity(view);
  const word = (at: number) => elfClass === CLASS_64 ? readWord(view, at) : view.getUint32(at, true);
  const table = word(layout.phoff);
  const entrySize = view.getUint16(layout.phentsize, true);
  const count = view.getUint16(layout.phnum, true);
  if (entrySize !== layout.entry) throw new BootImageError(`has ELF program headers of ${entrySize} bytes`);
  if (count > MAX_SEGMENTS) throw new BootImageError(`has ${count} ELF program headers; ${MAX_SEGMENTS} is the limit`);
  if (table + count * entrySize > image.length) throw new BootImageError("has ELF program headers outside the file");
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * entrySize;
    const segment = {
      type: view.getUint32(at, true),
      offset: word(at + layout.offset),
      physical: word(at + layout.paddr),
      fileSize: word(at + layout.filesz),
      memorySize: word(at + layout.memsz),
    };
    return checkSegment(segment, index, image.length);
  });
}

function checkIdentity(view: DataView): void {
  if (view.getUint8(5) !== LITTLE_ENDIAN) throw new BootImageError("is not a little-endian ELF file");
  const type = view.getUint16(16, true);
  if (type !== TYPE_EXECUTABLE && type !== TYPE_SHARED) {
    throw new BootImageError(`is an ELF file of type ${type}, not an executable`);
  }
  const machine = view.getUint16(18, true);
  if (machine !== MACHINE_386 && machine !== MACHINE_X86_64) {
    throw new BootImageError(`is an ELF file for machine ${machine}, not for x86`);
  }
}

/** A 64-bit field. What is beyond safe integers becomes 2^53, which no check lets pass. */
function readWord(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER + 1 : Number(value);
}

/** Only what is loaded or read is checked: other headers may say what they like. */
function checkSegment(segment: ElfSegment, index: number, imageSize: number): ElfSegment {
  if (segment.type !== ElfSegmentType.LOAD && segment.type !== ElfSegmentType.NOTE) return segment;
  const { offset, fileSize, memorySize } = segment;
  if (offset + fileSize > imageSize) {
    throw new BootImageError(
      `has ELF segment ${index} at file offset ${hex(offset)} with ${hex(fileSize)} bytes, outside the file`,
    );
  }
  if (segment.type === ElfSegmentType.LOAD && fileSize > memorySize) {
    throw new BootImageError(`has ELF segment ${index} with more bytes in the file than in memory`);
  }
  return segment;
}

/**
 * All notes in the note segments, in file order. A note that runs over its segment's end ends that segment.
 *
 * Note segments are a sequence of `u32 namesz, u32 descsz, u32 type`, name and descriptor, each padded to 4 bytes. The
 * gABI asks for 8-byte words in 64-bit files, but no compiler, kernel or loader does that.
 */
export function readNotes(image: Uint8Array, segments: readonly ElfSegment[]): ElfNote[] {
  const notes: ElfNote[] = [];
  for (const { type, offset, fileSize } of segments) {
    if (type !== ElfSegmentType.NOTE) continue;
    const end = offset + fileSize;
    const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
    for (let at = offset; at + 12 <= end && notes.length < MAX_NOTES;) {
      const nameSize = view.getUint32(at, true);
      const nameAt = at + 12;
      const descriptorAt = nameAt + pad(nameSize);
      const descriptorSize = view.getUint32(at + 4, true);
      if (descriptorAt + descriptorSize > end) break;
      notes.push({
        name: nameOf(image.subarray(nameAt, nameAt + nameSize)),
        type: view.getUint32(at + 8, true),
        descriptor: image.subarray(descriptorAt, descriptorAt + descriptorSize),
      });
      at = descriptorAt + pad(descriptorSize);
    }
  }
  return notes;
}

const pad = (size: number) => Math.ceil(size / 4) * 4;

/** Names are short; a long one is none that anybody looks for. */
function nameOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 64)).replace(/\0+$/, "");
}
