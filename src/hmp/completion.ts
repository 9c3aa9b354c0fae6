/**
 * How a line can go on: what Tab does.
 *
 * @module
 */

/** What Tab does to a line. */
export interface Completion {
  /** Goes in at the cursor. */
  readonly insert: string;
  /** What to choose from, where nothing can go in before a choice is made. */
  readonly choices: readonly string[];
}

/**
 * Completes the last word.
 *
 * @param before The line up to the cursor.
 * @param namesAfter The words that can follow others.
 */
export function complete(before: string, namesAfter: (words: readonly string[]) => readonly string[]): Completion {
  const words = before.split(" ");
  const word = words.pop()!;
  const matches = namesAfter(words.filter((word) => word !== "")).filter((name) => name.startsWith(word));
  if (matches.length === 0) return { insert: "", choices: [] };
  if (matches.length === 1) return { insert: `${matches[0].slice(word.length)} `, choices: [] };
  const insert = matches.reduce(commonStart).slice(word.length);
  return { insert, choices: insert === "" ? matches : [] };
}

function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}
