/**
 * ACPI machine language: the terms that the DSDT needs, each a function from its parts to its bytes.
 *
 * Section numbers are those of the ACPI Specification, release 6.5, chapter 20 ("AML Specification"); operators of
 * chapter 19 have the names that they have there.
 *
 * ```ts
 * const table = scope("\\_SB", device("RTC", name("_HID", eisaId("PNP0B00"))));
 * ```
 *
 * @module
 */

/** The bytes of a term, an object or an operand. */
export type Term = Uint8Array;

/** Address spaces of operation regions (section 5.5.2.4). */
export const RegionSpace = { SYSTEM_MEMORY: 0, SYSTEM_IO: 1, PCI_CONFIG: 2 } as const;

/** A field of an operation region: a name of four characters, or bits that are passed over. */
export type FieldElement = { readonly name: string; readonly bits: number } | { readonly skipBits: number };

const Op = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE_PREFIX: 0x0a,
  WORD_PREFIX: 0x0b,
  DWORD_PREFIX: 0x0c,
  STRING_PREFIX: 0x0d,
  QWORD_PREFIX: 0x0e,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  DUAL_NAME_PREFIX: 0x2e,
  MULTI_NAME_PREFIX: 0x2f,
  EXTENDED_PREFIX: 0x5b,
  ROOT: 0x5c,
  PARENT: 0x5e,
  LOCAL_0: 0x60,
  ARGUMENT_0: 0x68,
  STORE: 0x70,
  AND: 0x7b,
  OR: 0x7d,
  CREATE_DWORD_FIELD: 0x8a,
  LOGICAL_NOT: 0x92,
  LOGICAL_EQUAL: 0x93,
  IF: 0xa0,
  ELSE: 0xa1,
  RETURN: 0xa4,
} as const;

/** Operators after {@linkcode Op.EXTENDED_PREFIX}. */
const ExtendedOp = { REGION: 0x80, FIELD: 0x81, DEVICE: 0x82 } as const;

/** Field flags (section 20.2.5.2): byte accesses, no lock, preserve the bits that are not written. */
const FIELD_BYTE_ACCESS = 0x01;
const METHOD_SERIALIZED = 0x08;

/** Puts terms one after the other. */
export function concatenate(...parts: readonly (Term | readonly number[])[]): Term {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      bytes.set(part, at);
      at += part.length;
    } else {
      // For the few numbers that these are, it is faster than the general way.
      for (let i = 0; i < part.length; i++) bytes[at++] = part[i];
    }
  }
  return bytes;
}

/** `size` bytes of `value`, least significant first. */
export function littleEndian(value: number, size: number): number[] {
  const bytes = [];
  for (let i = 0, rest = value; i < size; i++, rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  return bytes;
}

/** The characters of `text` as bytes. @throws {RangeError} when one is not ASCII. */
export function ascii(text: string): number[] {
  return [...text].map((character) => {
    const code = character.charCodeAt(0);
    if (code === 0 || code > 0x7f) throw new RangeError(`"${text}" is not ASCII`);
    return code;
  });
}

/**
 * PkgLength (section 20.2.4): how many bytes follow, the length's own bytes included.
 *
 * @throws {RangeError} from 256 MiB on.
 */
function packageLength(contents: number): number[] {
  const size = [1, 2, 3, 4].find((bytes) => contents + bytes < lengthLimit(bytes));
  if (size === undefined) throw new RangeError(`An AML package of ${contents} bytes is too long`);
  return encodeLength(contents + size, size);
}

/** What a length of this many bytes can count: 6 bits in one byte, else 4 bits and 8 for each further byte. */
function lengthLimit(bytes: number): number {
  return bytes === 1 ? 1 << 6 : 2 ** (4 + 8 * (bytes - 1));
}

function encodeLength(length: number, size: number): number[] {
  if (size === 1) return [length];
  return [(size - 1) << 6 | length & 0x0f, ...littleEndian(length >>> 4, size - 1)];
}

/** The width of a field element is written as a PkgLength that does not count itself (section 20.2.5.2). */
function fieldWidth(bits: number): number[] {
  return encodeLength(bits, [1, 2, 3, 4].find((bytes) => bits < lengthLimit(bytes)) ?? 4);
}

function withLength(op: readonly number[], ...parts: readonly (Term | readonly number[])[]): Term {
  const contents = concatenate(...parts);
  return concatenate(op, packageLength(contents.length), contents);
}

/** NameSeg (section 20.2.2): four characters, padded with underscores. */
function nameSegment(segment: string): number[] {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`"${segment}" is no AML name`);
  return ascii(segment.padEnd(4, "_"));
}

/**
 * NameString (section 20.2.2): segments joined by dots after `\` (root) or any number of `^` (parent).
 *
 * @throws {RangeError} when a segment is not one to four of A-Z, 0-9 and underscore.
 */
export function path(text: string): Term {
  const [, prefix, rest] = /^(\\|\^*)(.*)$/.exec(text)!;
  const segments = rest === "" ? [] : rest.split(".");
  const encoded = segments.flatMap(nameSegment);
  return concatenate([...prefix].map((mark) => mark === "\\" ? Op.ROOT : Op.PARENT), segmentPrefix(segments), encoded);
}

function segmentPrefix(segments: readonly string[]): number[] {
  if (segments.length === 0) return [0x00];
  if (segments.length === 1) return [];
  return segments.length === 2 ? [Op.DUAL_NAME_PREFIX] : [Op.MULTI_NAME_PREFIX, segments.length];
}

/** An integer constant, in as few bytes as it takes (section 20.2.3). */
export function integer(value: number): Term {
  if (value === 0) return concatenate([Op.ZERO]);
  if (value === 1) return concatenate([Op.ONE]);
  if (value <= 0xff) return concatenate([Op.BYTE_PREFIX, value]);
  if (value <= 0xffff) return concatenate([Op.WORD_PREFIX], littleEndian(value, 2));
  if (value <= 0xffff_ffff) return concatenate([Op.DWORD_PREFIX], littleEndian(value, 4));
  return concatenate([Op.QWORD_PREFIX], littleEndian(value, 8));
}

/** A string constant. */
export function string(text: string): Term {
  return concatenate([Op.STRING_PREFIX], ascii(text), [0]);
}

/** `Buffer`: constant bytes. */
export function buffer(bytes: Uint8Array): Term {
  return withLength([Op.BUFFER], integer(bytes.length), bytes);
}

/** `Package`: up to 255 elements. */
export function pkg(...elements: readonly Term[]): Term {
  if (elements.length > 255) throw new RangeError(`An AML package of ${elements.length} elements needs VarPackage`);
  return withLength([Op.PACKAGE], [elements.length], ...elements);
}

/**
 * `EisaId`: a compressed PNP identifier (section 19.6.35): three letters of 5 bits and four hexadecimal digits, big-endian.
 *
 * @throws {RangeError} when it is not of the form `PNP0A08`.
 */
export function eisaId(id: string): Term {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new RangeError(`"${id}" is no EISA identifier`);
  const [a, b, c] = ascii(id.slice(0, 3)).map((code) => code - 0x40);
  const packed = (a << 26 | b << 21 | c << 16 | parseInt(id.slice(3), 16)) >>> 0;
  return integer(littleEndian(packed, 4).reduce((value, byte) => value * 256 + byte));
}

/** `ToUUID`: the first three groups little-endian, the rest in the order of the text (section 19.6.142). */
export function uuid(text: string): Term {
  const groups = text.split("-").map((group) => group.match(/../g)!.map((byte) => parseInt(byte, 16)));
  return buffer(Uint8Array.from(groups.flatMap((group, index) => index < 3 ? group.reverse() : group)));
}

/** `Name`: a named object. */
export function name(at: string, value: Term): Term {
  return concatenate([Op.NAME], path(at), value);
}

/** `Scope`. */
export function scope(at: string, ...terms: readonly Term[]): Term {
  return withLength([Op.SCOPE], path(at), ...terms);
}

/** `Device`. */
export function device(at: string, ...terms: readonly Term[]): Term {
  return withLength([Op.EXTENDED_PREFIX, ExtendedOp.DEVICE], path(at), ...terms);
}

/** `Method`, serialized: a method that makes named objects must be. */
export function method(at: string, argumentCount: number, ...terms: readonly Term[]): Term {
  return withLength([Op.METHOD], path(at), [argumentCount | METHOD_SERIALIZED], ...terms);
}

/** `OperationRegion`. */
export function operationRegion(at: string, space: number, offset: number, length: number): Term {
  const place = concatenate(path(at), [space], integer(offset), integer(length));
  return concatenate([Op.EXTENDED_PREFIX, ExtendedOp.REGION], place);
}

/** `Field` with byte accesses. */
export function field(region: string, ...elements: readonly FieldElement[]): Term {
  const encoded = elements.flatMap((element) =>
    "name" in element
      ? [...nameSegment(element.name), ...fieldWidth(element.bits)]
      : [0x00, ...fieldWidth(element.skipBits)]
  );
  return withLength([Op.EXTENDED_PREFIX, ExtendedOp.FIELD], path(region), [FIELD_BYTE_ACCESS], encoded);
}

/** `CreateDWordField`: names 32 bits of a buffer at a byte offset. */
export function createDwordField(source: Term, offset: number, at: string): Term {
  return concatenate([Op.CREATE_DWORD_FIELD], source, integer(offset), path(at));
}

/** `ArgN` of a method. */
export function argument(index: number): Term {
  return concatenate([Op.ARGUMENT_0 + index]);
}

/** `LocalN` of a method. */
export function local(index: number): Term {
  return concatenate([Op.LOCAL_0 + index]);
}

/** `Store (source, target)`. */
export function store(source: Term, target: Term): Term {
  return concatenate([Op.STORE], source, target);
}

/** `And (a, b, target)`. Without a target, the value alone. */
export function and(a: Term, b: Term, target: Term = Uint8Array.of(0)): Term {
  return concatenate([Op.AND], a, b, target);
}

/** `Or (a, b, target)`. Without a target, the value alone. */
export function or(a: Term, b: Term, target: Term = Uint8Array.of(0)): Term {
  return concatenate([Op.OR], a, b, target);
}

/** `LEqual (a, b)`. */
export function equal(a: Term, b: Term): Term {
  return concatenate([Op.LOGICAL_EQUAL], a, b);
}

/** `LNotEqual (a, b)`, which AML spells as the negation of LEqual. */
export function notEqual(a: Term, b: Term): Term {
  return concatenate([Op.LOGICAL_NOT], equal(a, b));
}

/** `If`. */
export function when(condition: Term, ...terms: readonly Term[]): Term {
  return withLength([Op.IF], condition, ...terms);
}

/** `Else`, right after an {@linkcode when}. */
export function otherwise(...terms: readonly Term[]): Term {
  return withLength([Op.ELSE], ...terms);
}

/** `Return`. */
export function giveBack(value: Term): Term {
  return concatenate([Op.RETURN], value);
}
