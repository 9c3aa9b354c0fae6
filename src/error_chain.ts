/**
 * Errors as people read them: on one line, with the chain of causes.
 *
 * It stands outside the folders because every process and thread reports errors, whatever it imports otherwise.
 *
 * @module
 */

import { printable } from "./printable.ts";

/** Longest chain that is followed; a chain of causes can lead back into itself. */
const LONGEST_CHAIN = 16;

function message(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  return error.name;
}

/** An error of which the user has been told already, by another process that shares standard error. */
export class ReportedError extends Error {
  override readonly name = "ReportedError";
}

/** Whether the error tells of a mistake in the program rather than of the command line, an image or the host. */
function isDefect(error: unknown): boolean {
  return error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
}

/**
 * An error and its causes in one line: `cannot open disk.img: openat: ENOENT`. A cause whose message the error repeats is
 * left out, line breaks become spaces, and what a terminal would obey is spelled out: messages repeat names that images hold.
 */
export function errorChain(error: unknown): string {
  const parts: string[] = [];
  let next: unknown = error;
  for (let length = 0; length < LONGEST_CHAIN && (length === 0 || next !== undefined); length++) {
    const text = message(next).replace(/\s*[\r\n]+\s*/g, " ").trim();
    if (!parts.at(-1)?.includes(text)) parts.push(text);
    next = next instanceof Error ? next.cause : undefined;
  }
  return printable(parts.join(": "));
}

/** {@linkcode errorChain}, marked as an internal error where the mistake is the program's own. */
export function describeError(error: unknown): string {
  return `${isDefect(error) ? "internal error: " : ""}${errorChain(error)}`;
}
