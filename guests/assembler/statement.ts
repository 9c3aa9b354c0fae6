/**
 * Parses lines into statements: labels, directives, data and instructions.
 *
 * @module
 */

import type { Instruction } from "./encoder.ts";
import { AssemblyError, type Place, Problem } from "./errors.ts";
import { type Expression, parseExpression } from "./expression.ts";
import { type Token, tokenize } from "./lexer.ts";
import { PREFIXES, SEGMENT_OVERRIDES } from "./opcode_table.ts";
import { parseOperand, REGISTERS, splitTokens, type Width } from "./operand.ts";
import type { SourceLine } from "./preprocessor.ts";

/** What a statement puts into the output. */
export type Content =
  | {
    readonly kind: "instruction";
    readonly instruction: Instruction;
    readonly bits: 16 | 32 | 64;
    readonly defaultRelative: boolean;
  }
  | { readonly kind: "data"; readonly width: Width; readonly items: readonly (Expression | Uint8Array)[] }
  | { readonly kind: "reserve"; readonly unit: number; readonly count: Expression }
  | { readonly kind: "align"; readonly to: Expression; readonly fill: Expression };

/** One statement, with its place in the source. */
export type Statement =
  & { readonly place: Place }
  & (
    | { readonly kind: "label"; readonly name: string }
    | { readonly kind: "equ"; readonly name: string; readonly value: Expression }
    | { readonly kind: "org"; readonly value: Expression }
    | { readonly kind: "emit"; readonly times: Expression | undefined; readonly content: Content }
  );

const DATA: Readonly<Record<string, Width>> = { db: 8, dw: 16, dd: 32, dq: 64 };
const RESERVE: Readonly<Record<string, number>> = { resb: 1, resw: 2, resd: 4, resq: 8 };
const NOP: Expression = () => 0x90n;

/** `o16` … `a64`, written before an instruction. */
const SIZE_PREFIX = /^([oa])(16|32|64)$/;

const lower = (token: Token | undefined) => token?.kind === "name" ? token.text.toLowerCase() : "";
const isMark = (token: Token | undefined, text: string) => token?.kind === "mark" && token.text === text;

/** Parses all lines. `bits` is the mode before the first `bits` directive. */
export function parseStatements(lines: readonly SourceLine[], bits: 16 | 32 | 64): Statement[] {
  const parser = new Parser(bits);
  for (const line of lines) {
    try {
      parser.line(line.place, tokenize(line.text));
    } catch (error) {
      throw error instanceof Problem ? new AssemblyError(line.place, error.message) : error;
    }
  }
  return parser.statements;
}

class Parser {
  readonly statements: Statement[] = [];
  readonly #defined = new Set<string>();
  #bits: 16 | 32 | 64;
  #defaultRelative = false;
  /** The last label that is not local: what `.loop` belongs to. */
  #outer = "";

  constructor(bits: 16 | 32 | 64) {
    this.#bits = bits;
  }

  line(place: Place, tokens: Token[]): void {
    if (tokens[0]?.kind === "name" && isMark(tokens[1], ":")) {
      this.#label(place, tokens[0].text);
      tokens = tokens.slice(2);
    } else if (tokens[0]?.kind === "name" && (lower(tokens[1]) in DATA || lower(tokens[1]) in RESERVE)) {
      if (lower(tokens[0]) !== "times") this.#label(place, tokens[0].text);
      tokens = tokens.slice(1);
    }
    if (tokens.length > 0) this.#statement(place, tokens);
  }

  readonly #qualify = (name: string) => name.startsWith(".") && !name.startsWith("..") ? this.#outer + name : name;

  #define(name: string): string {
    const full = this.#qualify(name);
    if (REGISTERS.has(name.toLowerCase())) throw new Problem(`${name} is a register`);
    if (this.#defined.has(full)) throw new Problem(`${full} is defined twice`);
    this.#defined.add(full);
    return full;
  }

  #label(place: Place, name: string): void {
    this.statements.push({ place, kind: "label", name: this.#define(name) });
    if (!name.startsWith(".")) this.#outer = name;
  }

  #statement(place: Place, tokens: Token[]): void {
    const word = lower(tokens[0]);
    const rest = tokens.slice(1);
    if (lower(tokens[1]) === "equ" && tokens[0].kind === "name") {
      const value = parseExpression(tokens.slice(2), this.#qualify);
      this.statements.push({ place, kind: "equ", name: this.#define(tokens[0].text), value });
    } else if (word === "bits") {
      this.#setBits(rest);
    } else if (word === "default") {
      if (rest.length !== 1 || !["rel", "abs"].includes(lower(rest[0]))) throw new Problem("default takes rel or abs");
      this.#defaultRelative = lower(rest[0]) === "rel";
    } else if (word === "org") {
      this.statements.push({ place, kind: "org", value: parseExpression(rest, this.#qualify) });
    } else if (word === "times") {
      const { count, body } = splitTimes(rest);
      const times = parseExpression(count, this.#qualify);
      this.statements.push({ place, kind: "emit", times, content: this.#content(body) });
    } else {
      this.statements.push({ place, kind: "emit", times: undefined, content: this.#content(tokens) });
    }
  }

  #setBits([token, ...more]: Token[]): void {
    const value = token?.kind === "number" && more.length === 0 ? Number(token.value) : 0;
    if (value !== 16 && value !== 32 && value !== 64) throw new Problem("bits takes 16, 32 or 64");
    this.#bits = value;
  }

  #content(tokens: Token[]): Content {
    const word = lower(tokens[0]);
    const rest = tokens.slice(1);
    if (DATA[word] !== undefined) {
      const items = splitTokens(rest, ",").map((item) => this.#dataItem(item));
      return { kind: "data", width: DATA[word], items };
    }
    if (RESERVE[word] !== undefined) {
      return { kind: "reserve", unit: RESERVE[word], count: parseExpression(rest, this.#qualify) };
    }
    if (word === "align") {
      const [to, fill] = splitTokens(rest, ",");
      if (fill !== undefined && lower(fill[0]) !== "db") throw new Problem("after align's comma comes db and a byte");
      return {
        kind: "align",
        to: parseExpression(to, this.#qualify),
        fill: fill === undefined ? NOP : parseExpression(fill.slice(1), this.#qualify),
      };
    }
    const instruction = this.#instruction(tokens);
    return { kind: "instruction", instruction, bits: this.#bits, defaultRelative: this.#defaultRelative };
  }

  #dataItem(tokens: Token[]): Expression | Uint8Array {
    const [token] = tokens;
    return tokens.length === 1 && token.kind === "string" ? token.bytes : parseExpression(tokens, this.#qualify);
  }

  #instruction(tokens: Token[]): Instruction {
    const prefixes: number[] = [];
    let operandSize: Width | undefined;
    let addressSize: Width | undefined;
    let at = 0;
    for (; at < tokens.length - 1; at++) {
      const word = lower(tokens[at]);
      const size = SIZE_PREFIX.exec(word);
      const segment = REGISTERS.get(word);
      if (size?.[1] === "o") operandSize = Number(size[2]) as Width;
      else if (size?.[1] === "a") addressSize = Number(size[2]) as Width;
      else if (PREFIXES.has(word)) prefixes.push(PREFIXES.get(word)!);
      else if (segment?.file === "segment") prefixes.push(SEGMENT_OVERRIDES[segment.number]);
      else break;
    }
    if (tokens[at].kind !== "name") throw new Problem("an instruction or directive was expected");
    const rest = tokens.slice(at + 1);
    const operands = rest.length === 0
      ? []
      : splitTokens(rest, ",").map((operand) => parseOperand(operand, this.#qualify));
    return { mnemonic: lower(tokens[at]), operands, prefixes, operandSize, addressSize };
  }
}

/** `times count statement`: the count ends where a word begins that can start a statement. */
function splitTimes(tokens: readonly Token[]): { count: Token[]; body: Token[] } {
  let depth = 0;
  for (let at = 0; at < tokens.length; at++) {
    if (isMark(tokens[at], "(")) depth++;
    if (isMark(tokens[at], ")")) depth--;
    const before = tokens[at - 1];
    const operandEnded = before !== undefined && (before.kind !== "mark" || [")", "$", "$$"].includes(before.text));
    if (depth === 0 && operandEnded && tokens[at].kind === "name") {
      return { count: tokens.slice(0, at), body: tokens.slice(at) };
    }
  }
  throw new Problem("times takes a count and a statement");
}
