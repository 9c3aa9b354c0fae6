/**
 * A terminal of 80 columns, as far as the line editor uses one: what its rows show, and where its cursor is.
 *
 * @module
 */

const COLUMNS = 80;

/** Characters of the tests that take two columns. */
export const WIDE_CHARACTERS = ["漢", "가", "😀"];

/** Second column of a character that takes two. */
const CONTINUED = "";

/** See the module. What it does not know is an error. */
export class TerminalModel {
  /** How many rows went on in the next, since they were full. */
  wraps = 0;
  readonly #rows: string[][] = [[]];
  #row = 0;
  #column = 0;

  /** The column of the cursor, from 0. */
  get column(): number {
    return this.#column;
  }

  /** The row of the cursor, up to the last character. */
  get line(): string {
    return this.rows[this.#row];
  }

  /** All rows. */
  get rows(): string[] {
    return this.#rows.map((cells) => cells.join(""));
  }

  write(text: string): void {
    // deno-lint-ignore no-control-regex
    const items = text.matchAll(/\x1b\[([0-9]*)([A-Za-z])|[^]/gu);
    for (const [item, parameter, final] of items) {
      if (final === undefined) this.#character(item);
      else this.#sequence(final, parameter);
    }
  }

  #character(character: string): void {
    if (character === "\r") return void (this.#column = 0);
    if (character === "\n") return this.#lineFeed();
    if (/\p{C}/u.test(character)) throw new Error(`the terminal was sent ${JSON.stringify(character)}`);
    const cells = this.#rows[this.#row];
    while (cells.length < this.#column) cells.push(" ");
    const width = WIDE_CHARACTERS.includes(character) ? 2 : 1;
    cells[this.#column] = character;
    if (width === 2) cells[this.#column + 1] = CONTINUED;
    this.#column += width;
    if (this.#column < COLUMNS) return;
    this.wraps++;
    this.#column = 0;
    this.#lineFeed();
  }

  #lineFeed(): void {
    this.#row++;
    if (this.#row === this.#rows.length) this.#rows.push([]);
  }

  #sequence(final: string, parameter: string): void {
    if (final === "K" && parameter === "") this.#rows[this.#row].length = this.#column;
    else if (final === "C" && Number(parameter) > 0) this.#column += Number(parameter);
    else if (final === "H" && parameter === "") this.#row = this.#column = 0;
    else if (final === "J" && parameter === "2") this.#rows.splice(0, Infinity, []);
    else throw new Error(`the terminal was sent CSI ${parameter} ${final}`);
  }
}
