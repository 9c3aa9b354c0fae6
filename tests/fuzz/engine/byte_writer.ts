/**
 * Puts an input together: the counterpart of `byte_reader.ts`, for seeds that are written as code.
 *
 * @module
 */

const encoder = new TextEncoder();

/** What {@linkcode input} takes: a byte, a run of bytes, or text. */
export type Piece = number | ArrayLike<number> | string;

/** Concatenates bytes, runs of bytes and text. */
export function input(...pieces: readonly Piece[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(pieces.flatMap((piece) => {
    if (typeof piece === "number") return [piece];
    return Array.from(typeof piece === "string" ? encoder.encode(piece) : piece);
  }));
}

/** A number of 16 bits, little-endian. */
export const u16 = (value: number): number[] => [value & 0xff, value >>> 8 & 0xff];

/** A number of 32 bits, little-endian. */
export const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];

/** A number of 64 bits, little-endian. */
export const u64 = (value: number): number[] => [...u32(value % 2 ** 32), ...u32(Math.floor(value / 2 ** 32))];
