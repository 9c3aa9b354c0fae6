/**
 * Instruction operands: registers, memory references, immediates and far pointers.
 *
 * @module
 */

import { Problem } from "./errors.ts";
import { type Expression, parseExpression, ZERO } from "./expression.ts";
import type { Token } from "./lexer.ts";

/** The width of an operand or address, in bits. */
export type Width = 8 | 16 | 32 | 64;

/** A register. */
export interface Register {
  readonly name: string;
  readonly file: "general" | "segment" | "control" | "debug";
  readonly width: Width;
  /** The register's number as instructions encode it, 0 to 15. */
  readonly number: number;
  /** Whether a byte register exists only with a REX prefix (spl … dil), or only without one (ah … bh). */
  readonly rex?: "required" | "forbidden";
}

/** `[base + index * scale + displacement]`, with what was said around it. */
export interface MemoryOperand {
  readonly kind: "memory";
  readonly width: Width | undefined;
  readonly far: boolean;
  readonly segment: Register | undefined;
  readonly base: Register | undefined;
  readonly index: Register | undefined;
  readonly scale: number;
  readonly displacement: Expression;
  readonly hasDisplacement: boolean;
  /** `rel` or `abs`; without either, `default` decides. */
  readonly addressing: "rel" | "abs" | undefined;
}

/** An instruction's operand, as written. */
export type Operand =
  | { readonly kind: "register"; readonly register: Register }
  | MemoryOperand
  | {
    readonly kind: "immediate";
    readonly value: Expression;
    readonly width: Width | undefined;
    readonly distance: "short" | "near" | undefined;
  }
  | {
    readonly kind: "pointer";
    readonly segment: Expression;
    readonly offset: Expression;
    readonly width: Width | undefined;
  };

const WIDTHS: Readonly<Record<string, Width>> = { byte: 8, word: 16, dword: 32, qword: 64 };

/** Every register by its name (SDM volume 2, section 2.1.5, tables 2-1 and 2-2; section 2.2.1 for REX). */
export const REGISTERS: ReadonlyMap<string, Register> = new Map(allRegisters().map((each) => [each.name, each]));

function allRegisters(): Register[] {
  const registers: Register[] = [];
  const general = (width: Width, ...names: string[]) =>
    names.forEach((name, number) => registers.push({ name, file: "general", width, number }));
  const numbered = Array.from({ length: 8 }, (_, index) => `r${index + 8}`);
  general(64, "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", ...numbered);
  general(32, "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", ...numbered.map((name) => `${name}d`));
  general(16, "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", ...numbered.map((name) => `${name}w`));
  general(8, "al", "cl", "dl", "bl");
  ["ah", "ch", "dh", "bh"].forEach((name, index) =>
    registers.push({ name, file: "general", width: 8, number: index + 4, rex: "forbidden" })
  );
  ["spl", "bpl", "sil", "dil"].forEach((name, index) =>
    registers.push({ name, file: "general", width: 8, number: index + 4, rex: "required" })
  );
  numbered.forEach((name, index) => registers.push({ name: `${name}b`, file: "general", width: 8, number: index + 8 }));
  ["es", "cs", "ss", "ds", "fs", "gs"].forEach((name, number) =>
    registers.push({ name, file: "segment", width: 16, number })
  );
  for (const number of [0, 2, 3, 4, 8]) registers.push({ name: `cr${number}`, file: "control", width: 64, number });
  for (const number of [0, 1, 2, 3, 6, 7]) registers.push({ name: `dr${number}`, file: "debug", width: 64, number });
  return registers;
}

const registerOf = (token: Token | undefined) =>
  token?.kind === "name" ? REGISTERS.get(token.text.toLowerCase()) : undefined;

const isMark = (token: Token | undefined, text: string) => token?.kind === "mark" && token.text === text;

/** Splits at the marks `text` that stand outside parentheses and brackets. */
export function splitTokens(tokens: readonly Token[], text: string): Token[][] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isMark(token, "(") || isMark(token, "[")) depth++;
    if (isMark(token, ")") || isMark(token, "]")) depth--;
    if (depth === 0 && isMark(token, text)) parts.push([]);
    else parts[parts.length - 1].push(token);
  }
  return parts;
}

/** Parses one operand. See {@linkcode parseExpression} for `qualify`. */
export function parseOperand(tokens: readonly Token[], qualify: (name: string) => string): Operand {
  let width: Width | undefined;
  let far = false;
  let distance: "short" | "near" | undefined;
  let at = 0;
  for (; tokens[at]?.kind === "name"; at++) {
    const word = (tokens[at] as { text: string }).text.toLowerCase();
    if (WIDTHS[word] !== undefined) width = WIDTHS[word];
    else if (word === "far") far = true;
    else if (word === "short" || word === "near") distance = word;
    else break;
  }
  const rest = tokens.slice(at);
  if (isMark(rest[0], "[")) {
    if (!isMark(rest.at(-1), "]")) throw new Problem("a closing bracket is missing");
    return parseMemory(rest.slice(1, -1), width, far, qualify);
  }
  const register = registerOf(rest[0]);
  if (register !== undefined && rest.length === 1) {
    if (width !== undefined && width !== register.width) {
      throw new Problem(`${register.name} has ${register.width} bits, not ${width}`);
    }
    return { kind: "register", register };
  }
  const parts = splitTokens(rest, ":");
  if (parts.length === 2) {
    const [segment, offset] = parts.map((part) => parseExpression(part, qualify));
    return { kind: "pointer", segment, offset, width };
  }
  return { kind: "immediate", value: parseExpression(rest, qualify), width, distance };
}

interface Terms {
  base?: Register;
  index?: Register;
  scale: number;
  displacement: Token[];
}

function parseMemory(
  inside: readonly Token[],
  width: Width | undefined,
  far: boolean,
  qualify: (name: string) => string,
): MemoryOperand {
  let tokens = inside;
  const word = tokens[0]?.kind === "name" ? tokens[0].text.toLowerCase() : "";
  const addressing = word === "rel" || word === "abs" ? word : undefined;
  if (addressing !== undefined) tokens = tokens.slice(1);
  let segment: Register | undefined;
  if (registerOf(tokens[0])?.file === "segment" && isMark(tokens[1], ":")) {
    segment = registerOf(tokens[0]);
    tokens = tokens.slice(2);
  }
  const terms = collectTerms(tokens);
  return {
    kind: "memory",
    width,
    far,
    segment,
    ...orderRegisters(terms),
    displacement: terms.displacement.length === 0 ? ZERO : parseExpression(terms.displacement, qualify),
    hasDisplacement: terms.displacement.length > 0,
    addressing,
  };
}

/** Sorts the terms of a sum into registers and the rest, which stays an expression. */
function collectTerms(tokens: readonly Token[]): Terms {
  const terms: Terms = { scale: 1, displacement: [] };
  for (const { sign, body } of signedTerms(tokens)) {
    const holder = body.findIndex((token) => registerOf(token) !== undefined);
    if (holder < 0) {
      terms.displacement.push({ kind: "mark", text: sign }, ...body);
      continue;
    }
    if (sign === "-") throw new Problem("a register cannot be subtracted in an address");
    addRegister(terms, registerOf(body[holder])!, body, holder);
  }
  return terms;
}

function addRegister(terms: Terms, register: Register, body: readonly Token[], holder: number): void {
  if (register.file !== "general" || register.width === 8) throw new Problem(`${register.name} cannot address memory`);
  let scale = 1;
  if (body.length === 3 && isMark(body[1], "*")) {
    const factor = body[holder === 0 ? 2 : 0];
    if (factor.kind !== "number" || ![1n, 2n, 4n, 8n].includes(factor.value)) {
      throw new Problem("the scale of an index register is 1, 2, 4 or 8");
    }
    scale = Number(factor.value);
  } else if (body.length !== 1) {
    throw new Problem(`${register.name} stands in an expression that no address can hold`);
  }
  if (scale === 1 && terms.base === undefined) {
    terms.base = register;
  } else if (terms.index === undefined) {
    terms.index = register;
    terms.scale = scale;
  } else {
    throw new Problem("an address has at most a base and an index register");
  }
}

/**
 * The stack pointer can be a base but no index (SDM volume 2, table 2-3), so the two change places if need be. Twice a
 * register is shorter as a sum, because an index without a base takes a 32-bit displacement; but (r)bp as a base would
 * change the default segment.
 */
function orderRegisters({ base, index, scale }: Terms) {
  if (index === undefined || index.width === 16) return { base, index, scale };
  if (index.number === 4 && scale === 1) return { base: index, index: base, scale };
  if (base === undefined && scale === 2 && index.number !== 4 && index.number !== 5) {
    return { base: index, index, scale: 1 };
  }
  return { base, index, scale };
}

function signedTerms(tokens: readonly Token[]): { sign: "+" | "-"; body: Token[] }[] {
  const terms: { sign: "+" | "-"; body: Token[] }[] = [];
  let depth = 0;
  let body: Token[] | undefined;
  for (const token of tokens) {
    if (isMark(token, "(")) depth++;
    if (isMark(token, ")")) depth--;
    const text = token.kind === "mark" ? token.text : "";
    // A sign that follows an operator belongs to the operand: `4 * -2`.
    const follows = body !== undefined && body.length > 0 && !endsInOperator(body);
    if (depth === 0 && (text === "+" || text === "-") && (body === undefined || follows)) {
      body = [];
      terms.push({ sign: text, body });
    } else if (body === undefined) {
      body = [token];
      terms.push({ sign: "+", body });
    } else {
      body.push(token);
    }
  }
  if (terms.length === 0 || terms.some((term) => term.body.length === 0)) throw new Problem("an address is missing");
  return terms;
}

function endsInOperator(body: readonly Token[]): boolean {
  const last = body.at(-1)!;
  return last.kind === "mark" && /^(<<|>>|[-+*/%&|^~])$/.test(last.text);
}
