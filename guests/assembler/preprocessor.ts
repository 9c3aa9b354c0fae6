/**
 * Comments and macros: turns the source text into the lines that remain.
 *
 * A macro is `%macro name count` … `%endmacro`; in its body `%1` to `%9` are the arguments as written, and `%%name` is a
 * label of this one use.
 *
 * @module
 */

import { AssemblyError } from "./errors.ts";
import { withoutComment } from "./lexer.ts";

/** A line of source after the preprocessor. */
export interface SourceLine {
  /** Where it stands in the source, counted from 1; lines out of a macro have the place of its use. */
  readonly number: number;
  readonly text: string;
}

interface Macro {
  readonly parameters: number;
  readonly body: string[];
}

/** How deep macros may use macros: enough for any sense, and an end for one that uses itself. */
const MAX_DEPTH = 16;

/** Expands all macros of `source`. */
export function preprocess(source: string): SourceLine[] {
  const macros = new Map<string, Macro>();
  const lines: SourceLine[] = [];
  let open: { macro: Macro; line: number } | undefined;
  let uses = 0;

  function expand(number: number, text: string, depth: number): void {
    const found = /^\s*((?:[A-Za-z_.][\w.]*:)?)\s*([A-Za-z_]\w*)(?:\s+(.*))?$/.exec(text);
    const macro = found === null ? undefined : macros.get(found[2]);
    if (macro === undefined) {
      if (text.trim() !== "") lines.push({ number, text });
      return;
    }
    const [, label, name, rest] = found!;
    const values = splitArguments(rest ?? "");
    if (values.length !== macro.parameters) {
      throw new AssemblyError(number, `${name} takes ${macro.parameters} arguments, not ${values.length}`);
    }
    if (depth === MAX_DEPTH) throw new AssemblyError(number, `${name} uses itself without end`);
    if (label !== "") lines.push({ number, text: label });
    const use = ++uses;
    for (const line of macro.body) expand(number, substitute(line, values, use, number), depth + 1);
  }

  source.split("\n").forEach((raw, index) => {
    const number = index + 1;
    const text = withoutComment(raw);
    const [directive, name, count] = text.trim().split(/\s+/);
    if (directive === "%macro") {
      if (open !== undefined) throw new AssemblyError(number, "a macro inside a macro");
      if (!/^[A-Za-z_]\w*$/.test(name ?? "") || !/^[0-9]$/.test(count ?? "")) {
        throw new AssemblyError(number, "%macro takes a name and a number of arguments, 0 to 9");
      }
      open = { macro: { parameters: Number(count), body: [] }, line: number };
      macros.set(name, open.macro);
    } else if (directive === "%endmacro") {
      if (open === undefined) throw new AssemblyError(number, "%endmacro without %macro");
      open = undefined;
    } else if (open !== undefined) {
      open.macro.body.push(text);
    } else if (directive.startsWith("%")) {
      throw new AssemblyError(number, `unknown directive ${directive}`);
    } else {
      expand(number, text, 0);
    }
  });
  if (open !== undefined) throw new AssemblyError(open.line, "%macro without %endmacro");
  return lines;
}

function substitute(line: string, values: readonly string[], use: number, number: number): string {
  return line.replaceAll(/%%(?=[A-Za-z_])|%([1-9])/g, (found, digit?: string) => {
    if (digit === undefined) return `..@${use}.`;
    const value = values[Number(digit) - 1];
    if (value === undefined) throw new AssemblyError(number, `the macro has no argument ${found}`);
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
