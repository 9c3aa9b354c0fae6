/**
 * Text that stands in an image, fit for a terminal.
 *
 * @module
 */

/** Control characters, which could move a cursor or change colours, and the two Unicode line separators. */
// deno-lint-ignore no-control-regex
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;

/** The text with what a terminal would obey as `\xNN`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
