/**
 * Comments, included files and macros: turns the source text into the lines that remain.
 *
 * A macro is `%macro name count` … `%endmacro`; in its body `%1` to `%9` are the arguments as written, and `%%name` is
 * a label of this one use.
 *
 * @module
 */

import { AssemblyError, type Place } from "./errors.ts";
import { withoutComment } from "./lexer.ts";

/** A line of source after the preprocessor. Lines out of a macro have the place of its use. */
export interface SourceLine {
  readonly place: Place;
  readonly text: string;
}

interface Macro {
  readonly parameters: number;
  readonly body: string[];
}

/** How deep macros may use macros, and files include files: enough for any sense, and an end for what uses itself. */
const MAX_DEPTH = 16;

/** Expands all macros of `source`. `files` are what `%include` may name. */
export function preprocess(source: string, files: Readonly<Record<string, string>>): SourceLine[] {
  const preprocessor = new Preprocessor(files);
  preprocessor.file(undefined, source, 0);
  return preprocessor.lines;
}

class Preprocessor {
  readonly lines: SourceLine[] = [];
  readonly #files: Readonly<Record<string, string>>;
  readonly #macros = new Map<string, Macro>();
  /** The macro that is being defined. */
  #open: Macro | undefined;
  #uses = 0;

  constructor(files: Readonly<Record<string, string>>) {
    this.#files = files;
  }

  file(file: string | undefined, source: string, depth: number): void {
    let opened: Place | undefined;
    source.split("\n").forEach((raw, index) => {
      const place = { file, line: index + 1 };
      const text = withoutComment(raw);
      const directive = text.trim().split(/\s/, 1)[0];
      if (directive === "%macro") {
        this.#define(place, text.trim());
        opened = place;
      } else if (directive === "%endmacro") {
        if (this.#open === undefined) throw new AssemblyError(place, "%endmacro without %macro");
        this.#open = opened = undefined;
      } else if (this.#open !== undefined) {
        this.#open.body.push(text);
      } else if (directive === "%include") {
        this.#include(place, text.trim(), depth);
      } else if (directive.startsWith("%")) {
        throw new AssemblyError(place, `unknown directive ${directive}`);
      } else {
        this.#expand(place, text, 0);
      }
    });
    if (opened !== undefined) throw new AssemblyError(opened, "%macro without %endmacro");
  }

  #define(place: Place, text: string): void {
    if (this.#open !== undefined) throw new AssemblyError(place, "a macro inside a macro");
    const [, name, parameters] = /^%macro\s+([A-Za-z_]\w*)\s+([0-9])$/.exec(text) ?? [];
    if (name === undefined) throw new AssemblyError(place, "%macro takes a name and a number of arguments, 0 to 9");
    this.#open = { parameters: Number(parameters), body: [] };
    this.#macros.set(name, this.#open);
  }

  #include(place: Place, text: string, depth: number): void {
    const name = /^%include\s+"([^"]+)"$/.exec(text)?.[1];
    if (name === undefined) throw new AssemblyError(place, '%include takes a file name in "quotes"');
    const source = Object.hasOwn(this.#files, name) ? this.#files[name] : undefined;
    if (source === undefined) throw new AssemblyError(place, `there is no file ${name}`);
    if (depth === MAX_DEPTH) throw new AssemblyError(place, `${name} includes itself without end`);
    this.file(name, source, depth + 1);
  }

  #expand(place: Place, text: string, depth: number): void {
    const found = /^\s*((?:[A-Za-z_.][\w.]*:)?)\s*([A-Za-z_]\w*)(?:\s+(.*))?$/.exec(text);
    const macro = found === null ? undefined : this.#macros.get(found[2]);
    if (macro === undefined) {
      if (text.trim() !== "") this.lines.push({ place, text });
      return;
    }
    const [, label, name, rest] = found!;
    const values = splitArguments(rest ?? "");
    if (values.length !== macro.parameters) {
      throw new AssemblyError(place, `${name} takes ${macro.parameters} arguments, not ${values.length}`);
    }
    if (depth === MAX_DEPTH) throw new AssemblyError(place, `${name} uses itself without end`);
    if (label !== "") this.lines.push({ place, text: label });
    const use = ++this.#uses;
    for (const line of macro.body) this.#expand(place, substitute(line, values, use, place), depth + 1);
  }
}

function substitute(line: string, values: readonly string[], use: number, place: Place): string {
  return line.replaceAll(/%%(?=[A-Za-z_])|%([1-9])/g, (found, digit?: string) => {
    if (digit === undefined) return `..@${use}.`;
    const value = values[Number(digit) - 1];
    if (value === undefined) throw new AssemblyError(place, `the macro has no argument ${found}`);
    return value;
  });
}

/** Splits at the commas that stand outside strings, parentheses and brackets. */
function splitArguments(text: string): string[] {
  const values: string[] = [];
  let value = "";
  let depth = 0;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (quote !== "") {
      if (character === "\\" && quote === "`") value += text[at++];
      else if (character === quote) quote = "";
    } else if (character === "'" || character === '"' || character === "`") {
      quote = character;
    } else if (character === "(" || character === "[") {
      depth++;
    } else if (character === ")" || character === "]") {
      depth--;
    } else if (character === "," && depth === 0) {
      values.push(value.trim());
      value = "";
      continue;
    }
    value += text[at] ?? "";
  }
  if (value.trim() !== "" || values.length > 0) values.push(value.trim());
  return values;
}
