/**
 * Numbers and sizes as QEMU's options spell them.
 *
 * @module
 */

/** Longest number that is looked at: a 64-bit value in binary and a fraction are well below. */
const LONGEST = 64;

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
};

/**
 * An unsigned whole number, decimal or hexadecimal (`0x`). A leading zero is refused: QEMU takes such a number as octal,
 * its user seldom means it so.
 *
 * @returns `undefined` for anything else.
 */
export function parseInteger(text: string): bigint | undefined {
  return text.length <= LONGEST && /^(0x[0-9a-f]+|0|[1-9][0-9]*)$/i.test(text) ? BigInt(text) : undefined;
}

/**
 * A size: `512`, `256M`, `1.5G`, `0x1000`. Suffixes b, k, M, G, T, P, E, in either case, are powers of 1024. As in QEMU, a
 * fraction needs a suffix above b and is cut to whole bytes, and hexadecimal takes no suffix.
 *
 * @param unit What a number without a suffix counts, in bytes.
 * @returns Bytes; `undefined` for anything else, and for sizes beyond the safe integers.
 */
export function parseByteSize(text: string, unit = 1): number | undefined {
  if (text.length > LONGEST) return undefined;
  if (/^0x/i.test(text)) return safe(Number(parseInteger(text) ?? NaN) * unit);
  const parts = /^([0-9]+)(\.[0-9]+)?([bkmgtpe])?$/i.exec(text);
  if (parts === null) return undefined;
  const [, whole, fraction, suffix] = parts;
  const scale = suffix === undefined ? unit : UNITS[suffix.toLowerCase()];
  if (fraction === undefined) return safe(Number(whole) * scale);
  if (suffix === undefined || scale === 1) return undefined;
  return safe(Number(whole) * scale + Math.floor(Number(`0${fraction}`) * scale));
}

/** The shortest exact spelling of a size: `512`, `4k`, `1536M`. */
export function formatByteSize(bytes: number): string {
  const suffixes = ["", "k", "M", "G", "T", "P"];
  let power = 0;
  let value = bytes;
  while (value !== 0 && value % 1024 === 0 && power + 1 < suffixes.length) {
    value /= 1024;
    power++;
  }
  return `${value}${suffixes[power]}`;
}

function safe(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined;
}
