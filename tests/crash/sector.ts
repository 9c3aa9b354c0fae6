/**
 * What the writer fills sectors with: a value that says which write it came from, and cannot be mistaken for another or for a torn one.
 *
 * @module
 */

/** Bytes in a sector, the unit in which a crash may tear a write. */
export const SECTOR = 512;

/** The value of a sector of zeroes. */
export const ZERO = 0;

/** The value that a disk is filled with before it is written to. */
export const ORIGINAL = 1;

/** What {@linkcode readSector} says of bytes that no write has written. */
export const GARBAGE = -1;

const WORDS = SECTOR / 4;

/** The word at `index` of a sector: place, value, then numbers that follow from both. */
function word(sector: number, value: number, index: number): number {
  if (index === 0) return sector;
  if (index === 1) return value;
  let mixed = Math.imul(sector ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(value, 0xc2b2ae35) ^ Math.imul(index, 0x27d4eb2f);
  mixed ^= mixed >>> 15;
  return Math.imul(mixed, 0x2c1b3c6d) >>> 0;
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, WORDS);
}

/** Fills 512 bytes with a value. @param bytes Aligned to 4 bytes in their buffer. */
export function fillSector(bytes: Uint8Array, sector: number, value: number): void {
  const words = wordsOf(bytes);
  if (value === ZERO) words.fill(0);
  else for (let i = 0; i < WORDS; i++) words[i] = word(sector, value, i);
}

/** Which value 512 bytes hold. @param bytes Aligned to 4 bytes in their buffer. */
export function readSector(bytes: Uint8Array, sector: number): number {
  const words = wordsOf(bytes);
  const value = words[1];
  for (let i = 0; i < WORDS; i++) {
    if (words[i] !== (value === ZERO ? 0 : word(sector, value, i))) return GARBAGE;
  }
  return value;
}
