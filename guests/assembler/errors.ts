/**
 * What the assembler reports.
 *
 * @module
 */

/** A mistake in the source: one line of text that starts with the place, as in `line 12: …`. */
export class AssemblyError extends Error {
  override name = "AssemblyError";
  /** The line in the source, counted from 1. */
  readonly line: number;

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.line = line;
  }
}

/** A mistake whose line the caller knows; the assembler turns it into an {@linkcode AssemblyError}. */
export class Problem extends Error {}
