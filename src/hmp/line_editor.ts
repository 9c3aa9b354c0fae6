/**
 * Editing a line on a terminal that shows characters as they come and obeys CR, `CSI K`, `CSI C`, `CSI H` and `CSI 2 J` (ECMA-48).
 *
 * A line always takes one row: of one that is longer, a part around the cursor is shown. So nothing depends on how a terminal wraps.
 *
 * @module
 */
import type { Completion } from "./completion.ts";
import type { History } from "./history.ts";
import type { EditKey, Key } from "./keys.ts";

/** Longest line, in bytes of UTF-8, as with QEMU; what would make it longer is dropped. */
export const LINE_LIMIT = 4095;

/** Columns that every terminal has. The last stays empty: some terminals wrap once it is written. */
const COLUMNS = 80;

/** Goes behind a line that was dropped; there is always room for it. */
const DROPPED = "^C";

/** Characters that take two columns (East Asian Width W and F, Unicode annex 11). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;

/** What a {@linkcode LineEditor} is made of. */
export interface LineEditorOptions {
  /** ASCII, at least one character. */
  readonly prompt: string;
  readonly history: History;
  readonly write: (text: string) => void;
  /** How the text before the cursor can go on. */
  readonly complete: (before: string) => Completion;
}

/** What a row shows, and the column of the cursor in it, from 0. */
interface Row {
  readonly text: string;
  readonly column: number;
}

const EMPTY_ROW: Row = { text: "", column: 0 };

/** A line that is being written. Keys change it; {@linkcode LineEditor.flush} shows what they did, so that many keys are drawn at once. */
export class LineEditor {
  readonly #options: LineEditorOptions;
  /** The characters of the line, code point by code point. */
  #line: string[] = [];
  /** In bytes of UTF-8. */
  #size = 0;
  /** Index of the character that the cursor is on. */
  #cursor = 0;
  /** What the terminal shows in the row of the prompt. */
  #shown = EMPTY_ROW;

  constructor(options: LineEditorOptions) {
    this.#options = options;
  }

  /** What has been written so far. */
  get line(): string {
    return this.#line.join("");
  }

  /** Shows the prompt and the line on a row that is empty, with the cursor at its beginning. */
  show(): void {
    this.#shown = EMPTY_ROW;
    this.flush();
  }

  /** Takes a key. @returns the line, once it is entered; the prompt is not shown again by itself then. */
  type(key: Key): string | undefined {
    if (typeof key === "object") return this.#replace(this.#cursor, this.#cursor, [key.character]);
    if (key === "enter") return this.#enter();
    this.#edit(key);
  }

  /** Shows what keys have changed. */
  flush(): void {
    const row = this.#row();
    const { text, column } = this.#shown;
    if (row.text === text && row.column === column) return;
    this.#shown = row;
    const width = columns(row.text);
    const isAppended = row.text.startsWith(text) && column === columns(text) && row.column === width;
    if (isAppended) return this.#options.write(row.text.slice(text.length));
    const redrawn = row.text === text ? "" : `\r${row.text}\x1b[K`;
    const isPlaced = redrawn !== "" && row.column === width;
    this.#options.write(isPlaced ? redrawn : `${redrawn}\r\x1b[${row.column}C`);
  }

  #edit(key: EditKey): void {
    const at = this.#cursor;
    const { length } = this.#line;
    switch (key) {
      case "left":
        return void (this.#cursor = Math.max(0, at - 1));
      case "right":
        return void (this.#cursor = Math.min(length, at + 1));
      case "home":
        return void (this.#cursor = 0);
      case "end":
        return void (this.#cursor = length);
      case "backspace":
        return this.#replace(Math.max(0, at - 1), at);
      case "delete":
        return this.#replace(at, Math.min(length, at + 1));
      case "kill-to-start":
        return this.#replace(0, at);
      case "kill-to-end":
        return this.#replace(at, length);
      case "kill-word":
        return this.#replace(this.#wordStart(), at);
      case "previous":
        return this.#recall(this.#options.history.previous(this.line));
      case "next":
        return this.#recall(this.#options.history.next());
      case "complete":
        return this.#complete();
      case "drop-line":
        return this.#drop();
      case "redraw":
        this.#options.write("\x1b[H\x1b[2J");
        return this.show();
    }
  }

  /** Puts characters in place of others, and the cursor behind them. */
  #replace(start: number, end: number, characters: readonly string[] = []): undefined {
    const size = this.#size - bytes(this.#line.slice(start, end)) + bytes(characters);
    if (size > LINE_LIMIT) return;
    this.#line.splice(start, end - start, ...characters);
    this.#size = size;
    this.#cursor = start + characters.length;
  }

  #clear(): void {
    this.#replace(0, this.#line.length);
    this.#options.history.leave();
  }

  #enter(): string {
    this.flush();
    this.#options.write("\r\n");
    const { line } = this;
    this.#options.history.add(line);
    this.#clear();
    return line;
  }

  #drop(): void {
    this.#cursor = this.#line.length;
    this.flush();
    this.#options.write(`${DROPPED}\r\n`);
    this.#clear();
    this.show();
  }

  #recall(line: string | undefined): void {
    if (line !== undefined) this.#replace(0, this.#line.length, [...line]);
  }

  #complete(): void {
    const { insert, choices } = this.#options.complete(this.#line.slice(0, this.#cursor).join(""));
    this.#replace(this.#cursor, this.#cursor, [...insert]);
    if (choices.length === 0) return;
    this.flush();
    this.#options.write(`\r\n${inColumns(choices, COLUMNS).map((row) => `${row}\r\n`).join("")}`);
    this.show();
  }

  /** Where the word before the cursor begins, blanks behind it included. */
  #wordStart(): number {
    let start = this.#cursor;
    while (start > 0 && this.#line[start - 1] === " ") start--;
    while (start > 0 && this.#line[start - 1] !== " ") start--;
    return start;
  }

  /** The prompt, as much of the line before the cursor as there is room for, and what else fits behind it. */
  #row(): Row {
    const { prompt } = this.#options;
    let room = COLUMNS - 1 - prompt.length - DROPPED.length;
    let start = this.#cursor;
    while (start > 0 && columns(this.#line[start - 1]) <= room) room -= columns(this.#line[--start]);
    let end = this.#cursor;
    while (end < this.#line.length && columns(this.#line[end]) <= room) room -= columns(this.#line[end++]);
    const before = prompt + this.#line.slice(start, this.#cursor).join("");
    return { text: before + this.#line.slice(this.#cursor, end).join(""), column: columns(before) };
  }
}

/** How many columns a text takes. */
export function columns(text: string): number {
  let count = 0;
  for (const character of text) count += WIDE.test(character) ? 2 : 1;
  return count;
}

/** How many bytes of UTF-8 characters take. */
function bytes(characters: readonly string[]): number {
  return characters.reduce((size, character) => {
    const code = character.codePointAt(0)!;
    return size + (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
  }, 0);
}

/** Words in rows, one beside the other as far as there is room, in the order of reading. */
function inColumns(words: readonly string[], width: number): string[] {
  const cell = Math.max(...words.map((word) => word.length)) + 2;
  const perRow = Math.max(1, Math.floor(width / cell));
  const rows: string[] = [];
  for (let i = 0; i < words.length; i += perRow) {
    rows.push(words.slice(i, i + perRow).map((word) => word.padEnd(cell)).join("").trimEnd());
  }
  return rows;
}
