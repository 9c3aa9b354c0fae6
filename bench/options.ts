/**
 * Numbers on the benchmarks' command lines.
 *
 * @module
 */

/** The value of `--name`. @param whole Whether it has to be an integer. @throws {Error} when it is no positive number. */
export function positive(name: string, text: string, whole: boolean): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    throw new Error(`--${name} takes a positive ${whole ? "integer" : "number"}, not ${text}`);
  }
  return value;
}
