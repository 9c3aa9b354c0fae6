/**
 * How SMBIOS writes a structure: a formatted part, in which text is the number of a string, and the strings behind it.
 *
 * Source: DMTF DSP0134 (System Management BIOS Reference Specification), sections 6.1.2 and 6.1.3.
 *
 * @module
 */

/** A field: a little-endian number of so many bytes, bytes as they are, or a text. */
export type SmbiosField =
  | { readonly size: 1 | 2 | 4 | 8; readonly value: number }
  | { readonly bytes: Uint8Array }
  | { readonly text: string | undefined };

/** Type, length and handle. */
const HEADER_SIZE = 4;

/** A byte. */
export const byte = (value: number): SmbiosField => ({ size: 1, value });
/** Two bytes. */
export const word = (value: number): SmbiosField => ({ size: 2, value });
/** Four bytes. */
export const dword = (value: number): SmbiosField => ({ size: 4, value });
/** Eight bytes. */
export const qword = (value: number): SmbiosField => ({ size: 8, value });
/** The number of a string, from 1; 0 where nothing is known. */
export const text = (value?: string): SmbiosField => ({ text: value });

/** Encodes a structure. Fields follow the header in their order. */
export function structure(type: number, handle: number, fields: readonly SmbiosField[]): Uint8Array {
  const strings: string[] = [];
  const formatted = fields.flatMap((field) => {
    if ("bytes" in field) return [...field.bytes];
    if ("size" in field) return littleEndian(field.value, field.size);
    if (field.text === undefined || field.text === "") return [0];
    return [strings.push(field.text)];
  });
  const length = HEADER_SIZE + formatted.length;
  // Two NULs end a structure: the last string's own and one more, or two where there is no string.
  const texts = strings.length === 0 ? "\0\0" : strings.map((string) => `${printable(string)}\0`).join("") + "\0";
  return Uint8Array.from([type, length, ...littleEndian(handle, 2), ...formatted, ...new TextEncoder().encode(texts)]);
}

/** Strings have at most 64 characters, by an older edition of the standard that readers still go by, and are ASCII here. */
function printable(string: string): string {
  return string.replaceAll(/[^ -~]/g, "?").slice(0, 64);
}

/** `size` bytes of a number, least significant first. */
export function littleEndian(value: number, size: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
}
