/**
 * Sizes for people, as qemu-img prints them.
 *
 * @module
 */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** C's `%.3g`: three significant digits, no zeroes at the end of a fraction. */
function threeDigits(value: number): string {
  const digits = value.toPrecision(3);
  if (!digits.includes("e")) return String(Number(digits));
  const [mantissa, exponent] = digits.split("e");
  return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
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
