/**
 * Sizes for people, as qemu-img prints them.
 *
 * @module
 */

import { toDecimals } from "./decimals.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** C's `%.3g`: three significant digits, no zeroes at the end of a fraction. */
function threeDigits(value: number): string {
  const decimals = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  const rounded = Number(toDecimals(value, decimals));
  return rounded === 1000 ? "1e+03" : String(rounded);
}

/**
 * A size with a unit, cut to three digits: `4.5 GiB`, `196 KiB`, `0 B`.
 *
 * A unit begins at 1000 of the one before, so that there are never more than three digits (QEMU, util/cutils.c,
 * size_to_str()).
 */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit + 1 < UNITS.length) {
    value /= 1024;
    unit++;
  }
  return `${threeDigits(value)} ${UNITS[unit]}`;
}

/** A size with a unit, and exactly: `4.5 GiB (4831838208 bytes)`. */
export function exactSize(bytes: number): string {
  return `${humanSize(bytes)} (${bytes} bytes)`;
}
