/**
 * Wide accesses to 8-bit ports: the ISA bus runs one byte cycle for each port, lowest first (PC/AT Technical Reference,
 * "I/O channel": a 16-bit access to an 8-bit device is converted into two 8-bit ones).
 *
 * @module
 */

/** Reads `size` (1, 2 or 4) consecutive byte-wide registers as one little-endian number. */
export function readByteWise(offset: number, size: number, readByte: (offset: number) => number): number {
  if (size === 1) return readByte(offset);
  let value = 0;
  for (let i = 0; i < size && i < 4; i++) value |= readByte(offset + i) << (8 * i);
  return value >>> 0;
}

/** Writes `size` (1, 2 or 4) consecutive byte-wide registers, lowest first. */
export function writeByteWise(
  offset: number,
  size: number,
  value: number,
  writeByte: (offset: number, value: number) => void,
): void {
  for (let i = 0; i < size && i < 4; i++) writeByte(offset + i, (value >>> (8 * i)) & 0xff);
}
