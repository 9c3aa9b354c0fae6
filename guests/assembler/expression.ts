/**
 * Constant expressions: numbers, symbols, `$`, `$$` and C's operators, in NASM's order of precedence.
 *
 * @module
 */

import { Problem } from "./errors.ts";
import type { Token } from "./lexer.ts";

/** What an expression can refer to. */
export interface Scope {
  /** The address of the current statement's first byte: `$`. */
  readonly here: bigint;
  /** The address of the output's first byte: `$$`. */
  readonly origin: bigint;
  /** A symbol's value; `undefined` while it is not known yet. */
  lookup(name: string): bigint | undefined;
}

/** A parsed expression; evaluates to `undefined` while it refers to a symbol that is not known yet. */
export type Expression = (scope: Scope) => bigint | undefined;

/** An expression that is always zero. */
export const ZERO: Expression = () => 0n;

type Binary = (left: bigint, right: bigint) => bigint;

/** Loosest first. */
const PRECEDENCE: readonly Readonly<Record<string, Binary>>[] = [
  { "|": (left, right) => left | right },
  { "^": (left, right) => left ^ right },
  { "&": (left, right) => left & right },
  { "<<": (left, right) => left << shiftCount(right), ">>": (left, right) => left >> shiftCount(right) },
  { "+": (left, right) => left + right, "-": (left, right) => left - right },
  {
    "*": (left, right) => left * right,
    "/": (left, right) => left / divisor(right),
    "%": (left, right) => left % divisor(right),
  },
];

const UNARY: Readonly<Record<string, (value: bigint) => bigint>> = {
  "-": (value) => -value,
  "+": (value) => value,
  "~": (value) => ~value,
};

function divisor(value: bigint): bigint {
  if (value === 0n) throw new Problem("division by zero");
  return value;
}

function shiftCount(value: bigint): bigint {
  if (value < 0n || value > 63n) throw new Problem(`shift by ${value}; 0 to 63 was expected`);
  return value;
}

/**
 * Parses all of `tokens` as one expression.
 *
 * @param qualify Turns a name as written into a symbol's full name (`.loop` into `print.loop`).
 */
export function parseExpression(tokens: readonly Token[], qualify: (name: string) => string): Expression {
  if (tokens.length === 0) throw new Problem("an expression is missing");
  let at = 0;
  const mark = () => {
    const token = tokens[at];
    return token?.kind === "mark" ? token.text : "";
  };

  function binary(level: number): Expression {
    if (level === PRECEDENCE.length) return unary();
    let left = binary(level + 1);
    for (let operator = PRECEDENCE[level][mark()]; operator !== undefined; operator = PRECEDENCE[level][mark()]) {
      at++;
      left = combine(left, operator, binary(level + 1));
    }
    return left;
  }

  function unary(): Expression {
    const operator = UNARY[mark()];
    if (operator === undefined) return primary();
    at++;
    const inner = unary();
    return (scope) => {
      const value = inner(scope);
      return value === undefined ? undefined : operator(value);
    };
  }

  function primary(): Expression {
    const token = tokens[at++];
    if (token?.kind === "mark" && token.text === "(") {
      const inner = binary(0);
      if (mark() !== ")") throw new Problem("a closing parenthesis is missing");
      at++;
      return inner;
    }
    return leaf(token, qualify);
  }

  const expression = binary(0);
  if (at < tokens.length) throw new Problem(`unexpected ${describe(tokens[at])} in an expression`);
  return expression;
}

function combine(left: Expression, operator: Binary, right: Expression): Expression {
  return (scope) => {
    const a = left(scope);
    const b = right(scope);
    return a === undefined || b === undefined ? undefined : operator(a, b);
  };
}

function leaf(token: Token | undefined, qualify: (name: string) => string): Expression {
  if (token?.kind === "number") return () => token.value;
  if (token?.kind === "name") {
    const name = qualify(token.text);
    return (scope) => scope.lookup(name);
  }
  if (token?.kind === "string" && token.bytes.length <= 8) {
    const value = token.bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    return () => value;
  }
  if (token?.kind === "mark" && token.text === "$") return (scope) => scope.here;
  if (token?.kind === "mark" && token.text === "$$") return (scope) => scope.origin;
  throw new Problem(token === undefined ? "the expression ends too early" : `unexpected ${describe(token)}`);
}

/** A token as error messages show it. */
export function describe(token: Token): string {
  switch (token.kind) {
    case "string":
      return "string";
    case "number":
      return token.value.toString();
    default:
      return token.text;
  }
}
