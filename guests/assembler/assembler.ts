/**
 * Lays out statements: passes over the source until no address changes any more.
 *
 * @module
 */

import { encodeInstruction } from "./encoder.ts";
import { AssemblyError, Problem } from "./errors.ts";
import type { Expression, Scope } from "./expression.ts";
import { fits, littleEndian, show } from "./immediate.ts";
import type { Width } from "./operand.ts";
import { preprocess } from "./preprocessor.ts";
import { type Content, parseStatements, type Statement } from "./statement.ts";

/** How to assemble. */
export interface AssembleOptions {
  /** The mode before the first `bits` directive. @default {16} */
  readonly bits?: 16 | 32 | 64;
  /** Symbols that the source may use as if it had defined them with `equ`. @default {{}} */
  readonly constants?: Readonly<Record<string, number | bigint>>;
  /** The files that `%include "name"` may name. @default {{}} */
  readonly files?: Readonly<Record<string, string>>;
}

/** What comes out. */
export interface Assembly {
  /** The flat output, from the address of `org` on. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Address of each label and value of each `equ`; local labels as `outer.local`. Safe integers only. */
  readonly symbols: Map<string, number>;
}

/** Instructions only ever grow from pass to pass, so real sources settle in a few. */
const MAX_PASSES = 64;
/** More output than any boot program has: a mistake in a `times`. */
const MAX_OUTPUT = 64 << 20;

/**
 * Assembles `source` to flat bytes.
 *
 * @throws {AssemblyError} on the first mistake, with its line.
 */
export function assemble(source: string, options: AssembleOptions = {}): Assembly {
  const statements = parseStatements(preprocess(source, options.files ?? {}), options.bits ?? 16);
  const layout = new Layout(statements, options.constants ?? {});
  let passes = 0;
  while (layout.pass(false)) {
    if (++passes === MAX_PASSES) {
      throw new AssemblyError({ file: undefined, line: 1 }, `addresses do not settle in ${MAX_PASSES} passes`);
    }
  }
  layout.pass(true);
  return { bytes: layout.bytes(), symbols: layout.publicSymbols() };
}

class Layout {
  readonly #statements: readonly Statement[];
  readonly #symbols = new Map<string, bigint>();
  /** The most that each statement's instruction has needed so far. */
  readonly #lengths: number[];
  #output: number[] = [];
  #origin = 0n;
  #final = false;
  #changed = false;

  constructor(statements: readonly Statement[], constants: Readonly<Record<string, number | bigint>>) {
    this.#statements = statements;
    this.#lengths = statements.map(() => 0);
    for (const [name, value] of Object.entries(constants)) this.#symbols.set(name, BigInt(value));
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#output);
  }

  publicSymbols(): Map<string, number> {
    const symbols = new Map<string, number>();
    for (const [name, value] of this.#symbols) {
      if (!name.startsWith("..") && Number.isSafeInteger(Number(value))) symbols.set(name, Number(value));
    }
    return symbols;
  }

  /**
   * Lays everything out once.
   *
   * @param final Whether this is the pass whose output counts: what is unknown or out of range then is an error.
   * @returns Whether an address changed.
   */
  pass(final: boolean): boolean {
    this.#final = final;
    this.#changed = false;
    this.#output = [];
    this.#origin = 0n;
    this.#statements.forEach((statement, index) => {
      try {
        this.#place(statement, index);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (final) throw new AssemblyError(statement.place, error.message);
      }
    });
    return this.#changed;
  }

  get #here(): bigint {
    return this.#origin + BigInt(this.#output.length);
  }

  #scope(): Scope {
    return {
      here: this.#here,
      origin: this.#origin,
      lookup: (name) => {
        const value = this.#symbols.get(name);
        if (value === undefined && this.#final) throw new Problem(`${name} is not defined`);
        return value;
      },
    };
  }

  #set(name: string, value: bigint | undefined): void {
    if (value === undefined || this.#symbols.get(name) === value) return;
    this.#symbols.set(name, value);
    this.#changed = true;
  }

  #place(statement: Statement, index: number): void {
    switch (statement.kind) {
      case "label":
        return this.#set(statement.name, this.#here);
      case "equ":
        return this.#set(statement.name, statement.value(this.#scope()));
      case "org":
        if (this.#output.length > 0) throw new Problem("org after the first byte of output");
        this.#origin = statement.value(this.#scope()) ?? 0n;
        return;
      case "emit": {
        const times = statement.times === undefined ? 1 : this.#count(statement.times);
        for (let done = 0; done < times; done++) this.#emit(statement.content, index);
      }
    }
  }

  /** A count; 0 while it is not known. */
  #count(expression: Expression): number {
    const value = expression(this.#scope()) ?? 0n;
    if (value < 0n || value > BigInt(MAX_OUTPUT)) throw new Problem(`a count of ${value}`);
    return Number(value);
  }

  #emit(content: Content, index: number): void {
    switch (content.kind) {
      case "instruction":
        return this.#append(this.#encode(content, index));
      case "data": {
        const scope = this.#scope(); // `$` is where the statement begins, in all of its items
        for (const item of content.items) this.#append(this.#dataBytes(item, content.width, scope));
        return;
      }
      case "reserve":
        return this.#fill(this.#count(content.count) * content.unit, 0);
      case "align": {
        const to = this.#count(content.to);
        if (to === 0) throw new Problem("align to 0");
        const fill = Number(BigInt.asUintN(8, content.fill(this.#scope()) ?? 0n));
        return this.#fill((to - Number(this.#here % BigInt(to))) % to, fill);
      }
    }
  }

  /** An instruction that cannot be encoded yet keeps its place, so that the final pass reports the first real mistake. */
  #encode(content: Extract<Content, { kind: "instruction" }>, index: number): number[] {
    const { instruction, bits, defaultRelative } = content;
    const minimumLength = this.#lengths[index];
    try {
      const bytes = encodeInstruction(instruction, { bits, defaultRelative, scope: this.#scope(), minimumLength });
      if (bytes.length > minimumLength) {
        this.#lengths[index] = bytes.length;
        this.#changed = true;
      }
      return bytes;
    } catch (error) {
      if (!(error instanceof Problem) || this.#final) throw error;
      return new Array(Math.max(minimumLength, 1)).fill(0);
    }
  }

  #dataBytes(item: Expression | Uint8Array, width: Width, scope: Scope): number[] {
    if (item instanceof Uint8Array) {
      const unit = width / 8;
      return [...item, ...new Array((unit - item.length % unit) % unit).fill(0)];
    }
    const value = item(scope) ?? 0n;
    if (this.#final && !fits(value, width)) throw new Problem(`value ${show(value)} does not fit in ${width} bits`);
    return littleEndian(value, width);
  }

  #append(bytes: readonly number[]): void {
    if (this.#output.length + bytes.length > MAX_OUTPUT) throw new Problem(`more than ${MAX_OUTPUT} bytes of output`);
    for (const byte of bytes) this.#output.push(byte);
  }

  #fill(length: number, byte: number): void {
    if (this.#output.length + length > MAX_OUTPUT) throw new Problem(`more than ${MAX_OUTPUT} bytes of output`);
    for (let done = 0; done < length; done++) this.#output.push(byte);
  }
}
