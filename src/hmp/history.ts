/**
 * The lines that were entered before, for a line editor.
 *
 * @module
 */

/** Lines that are kept; the oldest goes first. */
export const HISTORY_LIMIT = 64;

/** Entered lines, and a place among them that the up and down keys move. */
export class History {
  readonly #lines: string[] = [];
  #place = 0;
  /** What stood in the editor when it left the end. */
  #draft = "";

  /** All lines, the oldest first. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Keeps a line that was entered, as the newest; it stands here once. An empty one is not kept. */
  add(line: string): void {
    const before = this.#lines.indexOf(line);
    if (before >= 0) this.#lines.splice(before, 1);
    if (line !== "") this.#lines.push(line);
    if (this.#lines.length > HISTORY_LIMIT) this.#lines.shift();
    this.leave();
  }

  /** Goes to the end. */
  leave(): void {
    this.#place = this.#lines.length;
    this.#draft = "";
  }

  /** The line before, if there is one. @param current The line that is given up for it. */
  previous(current: string): string | undefined {
    if (this.#place === 0) return undefined;
    if (this.#place === this.#lines.length) this.#draft = current;
    return this.#lines[--this.#place];
  }

  /** The line after; at the end, the one that was being written. */
  next(): string | undefined {
    if (this.#place === this.#lines.length) return undefined;
    this.#place++;
    return this.#place === this.#lines.length ? this.#draft : this.#lines[this.#place];
  }
}
