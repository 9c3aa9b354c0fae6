/**
 * Cuts a source line into tokens.
 *
 * @module
 */

import { Problem } from "./errors.ts";

/** One token. Names keep their spelling; numbers are unsigned; a string's bytes are its UTF-8 form. */
export type Token =
  | { readonly kind: "name"; readonly text: string }
  | { readonly kind: "number"; readonly value: bigint }
  | { readonly kind: "string"; readonly bytes: Uint8Array }
  | { readonly kind: "mark"; readonly text: string };

const SPACE = /[ \t\r]+/y;
const NUMBER = /[0-9][0-9A-Za-z_]*/y;
const NAME = /[A-Za-z_.?@][A-Za-z0-9_.?@]*/y;
const MARK = /<<|>>|\$\$|[-+*/%&|^~()[\],:$=]/y;

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", "0": "\0", "\\": "\\", "`": "`" };

/** Where the comment of a line starts: at the first `;` outside a string. */
export function withoutComment(line: string): string {
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at];
    if (quote !== "") {
      if (character === "\\" && quote === "`") at++;
      else if (character === quote) quote = "";
    } else if (character === ";") {
      return line.slice(0, at);
    } else if (character === "'" || character === '"' || character === "`") {
      quote = character;
    }
  }
  return line;
}

/** The tokens of one line without its comment. */
export function tokenize(line: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(line)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  while (at < line.length) {
    if (take(SPACE) !== undefined) continue;
    const quote = line[at];
    if (quote === "'" || quote === '"' || quote === "`") {
      const { text, end } = readString(line, at);
      tokens.push({ kind: "string", bytes: new TextEncoder().encode(text) });
      at = end;
      continue;
    }
    let text: string | undefined;
    if ((text = take(NUMBER)) !== undefined) tokens.push({ kind: "number", value: readNumber(text) });
    else if ((text = take(NAME)) !== undefined) tokens.push({ kind: "name", text });
    else if ((text = take(MARK)) !== undefined) tokens.push({ kind: "mark", text });
    else throw new Problem(`unexpected character ${JSON.stringify(line[at])}`);
  }
  return tokens;
}

/** Plain quotes hold their text as it stands; backquotes know C's escapes, as in NASM. */
function readString(line: string, start: number): { text: string; end: number } {
  const quote = line[start];
  let text = "";
  for (let at = start + 1; at < line.length; at++) {
    if (line[at] === quote) return { text, end: at + 1 };
    if (quote !== "`" || line[at] !== "\\") {
      text += line[at];
      continue;
    }
    const escaped = ESCAPES[line[++at]];
    if (escaped === undefined) throw new Problem(`unknown escape \\${line[at] ?? ""} in a string`);
    text += escaped;
  }
  throw new Problem("string without its closing quote");
}

function readNumber(text: string): bigint {
  const digits = text.replaceAll("_", "");
  if (!/^(0x[0-9a-f]+|0b[01]+|0o[0-7]+|[0-9]+)$/i.test(digits)) throw new Problem(`${text} is not a number`);
  const value = BigInt(digits);
  if (value >> 64n !== 0n) throw new Problem(`${text} does not fit in 64 bits`);
  return value;
}
