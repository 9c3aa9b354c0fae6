/**
 * What a wrong option is answered with: one line that says where, what was wrong, and what was expected.
 *
 * @module
 */
import { closestString } from "@std/text/closest-string";

/** A command line that cannot be carried out. The message is one line. */
export class OptionError extends Error {
  override readonly name = "OptionError";

  /**
   * @param where The option, with as much of its argument as tells which one is meant: `-device scsi-hd,id=hd0`.
   * @param problem What was wrong and what was expected.
   */
  constructor(readonly where: string, readonly problem: string) {
    super(`${where}: ${problem}`);
  }
}

/** Longest piece of user text that a message repeats. */
const QUOTE_LIMIT = 80;

/** Control characters, and the two Unicode line separators. */
// deno-lint-ignore no-control-regex
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;

/** User text in quotes, fit for one line of a terminal: control characters are escaped, long text is cut. */
export function quote(text: string): string {
  const cut = text.length > QUOTE_LIMIT ? `${text.slice(0, QUOTE_LIMIT)}...` : text;
  return `'${cut.replace(UNPRINTABLE, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`)}'`;
}

/**
 * The candidate that `word` was most likely meant to be; `undefined` when none is near.
 *
 * The beginning of just one candidate means that one, and so does one with two letters that changed places. Otherwise half of the
 * word itself competes with the candidates: one that is farther away than deleting half of the letters has nothing to do
 * with what was typed.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > QUOTE_LIMIT) return undefined;
  const begun = candidates.filter((candidate) => word.length >= 2 && candidate.startsWith(word));
  if (begun.length === 1) return begun[0];
  const swapped = candidates.find((candidate) => isSwapped(word, candidate));
  if (swapped !== undefined) return swapped;
  const half = word.slice(0, Math.floor(word.length / 2));
  const closest = closestString(word, [half, ...candidates]);
  return candidates.includes(closest) ? closest : undefined;
}

/** Whether two words differ by two neighbouring letters that changed places. */
function isSwapped(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  const at = [...a].findIndex((letter, i) => letter !== b[i]);
  return at >= 0 && a.slice(0, at) + a[at + 1] + a[at] + a.slice(at + 2) === b;
}

/** Most candidates that a message lists. */
const LIST_LIMIT = 8;

/** What an unknown word is answered with: `; did you mean 'x'?`, or else the candidates, unless they are many. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const candidate = nearest(word, candidates);
  if (candidate !== undefined) return `; did you mean '${candidate}'?`;
  return candidates.length === 0 || candidates.length > LIST_LIMIT ? "" : `; expected ${candidates.join(", ")}`;
}
