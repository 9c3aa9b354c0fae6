/**
 * Numbers that instructions and data directives hold: range checks and little-endian bytes.
 *
 * @module
 */

import type { Width } from "./operand.ts";

/** Whether `value` fits in `width` bits, read as signed or as unsigned. */
export function fits(value: bigint, width: Width): boolean {
  return value >= -(1n << BigInt(width - 1)) && value < 1n << BigInt(width);
}

/** Whether `value`, kept in `width` bits and sign-extended to `extended` bits, is what it was. */
export function fitsSigned(value: bigint, width: Width, extended: Width): boolean {
  if (!fits(value, extended)) return false;
  const signed = BigInt.asIntN(extended, value);
  return BigInt.asIntN(width, signed) === signed;
}

/** The low `width` bits of `value`, least significant byte first. */
export function littleEndian(value: bigint, width: Width): number[] {
  return Array.from({ length: width / 8 }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}

/** A value as error messages show it. */
export function show(value: bigint): string {
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}
