/**
 * What the assembler reports.
 *
 * @module
 */

/** A place in the source. */
export interface Place {
  /** Name of the included file; `undefined` for the source itself. */
  readonly file: string | undefined;
  /** Counted from 1. */
  readonly line: number;
}

/** A mistake in the source: one line of text that starts with the place, as in `line 12: …` or `serial.asm, line 12: …`. */
export class AssemblyError extends Error {
  override name = "AssemblyError";
  readonly place: Place;

  constructor(place: Place, problem: string) {
    super(`${place.file === undefined ? "" : `${place.file}, `}line ${place.line}: ${problem}`);
    this.place = place;
  }
}

/** A mistake whose line the caller knows; the assembler turns it into an {@linkcode AssemblyError}. */
export class Problem extends Error {}
