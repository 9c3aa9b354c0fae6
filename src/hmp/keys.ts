/**
 * What a terminal sends, as keys: UTF-8, control characters, and the escape sequences of cursor keys (ECMA-48; xterm's "PC-Style Function
 * Keys" and the VT220's editing keypad).
 *
 * @module
 */

/** What a key asks the line editor for. */
export type EditKey =
  | "backspace"
  | "complete"
  | "delete"
  | "drop-line"
  | "end"
  | "end-of-input"
  | "enter"
  | "home"
  | "kill-to-end"
  | "kill-to-start"
  | "kill-word"
  | "left"
  | "next"
  | "previous"
  | "redraw"
  | "right";

/** A key: an {@linkcode EditKey}, or one printable character. */
export type Key = EditKey | { readonly character: string };

/** Control characters that mean something, by their codes; Emacs's choice, which shells share. */
const CONTROLS: Readonly<Record<number, EditKey>> = {
  0x01: "home",
  0x02: "left",
  0x03: "drop-line",
  0x04: "end-of-input",
  0x05: "end",
  0x06: "right",
  0x08: "backspace",
  0x09: "complete",
  0x0a: "enter",
  0x0b: "kill-to-end",
  0x0c: "redraw",
  0x0d: "enter",
  0x0e: "next",
  0x10: "previous",
  0x15: "kill-to-start",
  0x17: "kill-word",
  0x7f: "backspace",
};

/** Final characters of sequences without parameters, after CSI as well as after SS3 (which a terminal in application mode sends). */
const CURSOR_KEYS: Readonly<Record<string, EditKey>> = {
  A: "previous",
  B: "next",
  C: "right",
  D: "left",
  F: "end",
  H: "home",
};

/** Parameters of `CSI … ~`: the VT220's, and rxvt's for Home and End. */
const KEYPAD: Readonly<Record<string, EditKey>> = {
  1: "home",
  3: "delete",
  4: "end",
  7: "home",
  8: "end",
};

const CR = "\r";
const LF = "\n";
const ESC = "\x1b";

/** Parameters are remembered up to this length; no sequence that means something has as many. */
const PARAMETER_LIMIT = 8;

/** What has no place of its own on a row or changes others': C1 controls, marks, controls of direction, line separators. */
const UNPRINTABLE = /[\p{C}\p{M}\p{Zl}\p{Zp}]/u;

/** Where in a sequence the reader is. */
type State = "ground" | "escape" | "single-shift" | "parameters";

/**
 * Makes keys of bytes, however they are cut into pieces. What means nothing is left out: unknown sequences as a whole. It remembers a few
 * bytes at most.
 */
export class KeyReader {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #state: State = "ground";
  #parameters = "";
  #afterReturn = false;

  /** The keys that the bytes complete. A byte that is not UTF-8 counts as U+FFFD. */
  read(bytes: Uint8Array): Key[] {
    const keys: Key[] = [];
    for (const character of this.#decoder.decode(bytes, { stream: true })) {
      const key = this.#step(character);
      if (key !== undefined) keys.push(key);
    }
    return keys;
  }

  #step(character: string): Key | undefined {
    const code = character.codePointAt(0)!;
    // A control character within a sequence ends it and counts for itself, so that Enter and Ctrl-C work after any garbage.
    if (code < 0x20 || code === 0x7f) return this.#control(character, code);
    this.#afterReturn = false;
    switch (this.#state) {
      case "ground":
        return UNPRINTABLE.test(character) ? undefined : { character };
      case "escape":
        this.#parameters = "";
        this.#state = character === "[" ? "parameters" : character === "O" ? "single-shift" : "ground";
        return undefined;
      case "single-shift":
        this.#state = "ground";
        return CURSOR_KEYS[character];
      case "parameters":
        return this.#parameter(character, code);
    }
  }

  #control(character: string, code: number): Key | undefined {
    this.#state = character === ESC ? "escape" : "ground";
    const ended = this.#afterReturn && character === LF;
    this.#afterReturn = character === CR;
    return ended ? undefined : CONTROLS[code];
  }

  /** Bytes 0x20 to 0x3f go on, 0x40 to 0x7e end it (ECMA-48, 5.4). */
  #parameter(character: string, code: number): Key | undefined {
    if (code < 0x40) {
      if (this.#parameters.length < PARAMETER_LIMIT) this.#parameters += character;
      return undefined;
    }
    this.#state = "ground";
    if (character === "~") return KEYPAD[this.#parameters];
    return this.#parameters === "" ? CURSOR_KEYS[character] : undefined;
  }
}
