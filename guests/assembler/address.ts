/**
 * ModRM, SIB and displacement: how an instruction names its memory operand (SDM volume 2, section 2.1.5).
 *
 * @module
 */

import type { Scope } from "./expression.ts";
import { fits, fitsSigned, show } from "./immediate.ts";
import type { MemoryOperand, Width } from "./operand.ts";

/** How a memory operand is encoded; ModRM.reg is left to the caller. */
export interface EncodedAddress {
  readonly mod: number;
  readonly rm: number;
  readonly sib?: number;
  readonly displacement: bigint;
  /** Width of the displacement in bits; 0 for none. */
  readonly displacementWidth: 0 | Width;
  /** Whether the displacement counts from the end of the instruction. */
  readonly ripRelative: boolean;
  /** The registers' fourth bits (REX.X and REX.B; section 2.2.1.2). */
  readonly rexX: number;
  readonly rexB: number;
}

/** What the encoding of an address depends on. */
export interface AddressContext {
  readonly bits: 16 | 32 | 64;
  readonly scope: Scope;
  readonly defaultRelative: boolean;
}

/** ModRM.rm by the registers of a 16-bit address (table 2-1). */
const RM16: Readonly<Record<string, number>> = {
  "bx si": 0,
  "bx di": 1,
  "bp si": 2,
  "bp di": 3,
  si: 4,
  di: 5,
  bp: 6,
  bx: 7,
};

/** The width that a memory operand's registers give its address; `undefined` when it has none. */
export function addressWidthOf(memory: MemoryOperand): Width | undefined {
  return memory.base?.width ?? memory.index?.width;
}

/** Encodes an address of `width` bits, or says why that cannot be. */
export function encodeAddress(memory: MemoryOperand, width: Width, context: AddressContext): EncodedAddress | string {
  const { base, index } = memory;
  if (base !== undefined && index !== undefined && base.width !== index.width) {
    return `${base.name} and ${index.name} differ in width`;
  }
  const value = memory.displacement(context.scope);
  if (value !== undefined && !isRipRelative(memory, context)) {
    const inRange = context.bits === 64 ? fitsSigned(value, 32, 64) : fits(value, width);
    if (!inRange) return `displacement ${show(value)} does not fit`;
  }
  return width === 16 ? encode16(memory, value) : encode32(memory, value, width, context);
}

function encode16(memory: MemoryOperand, value: bigint | undefined): EncodedAddress | string {
  const names = [memory.base?.name, memory.index?.name].filter((name) => name !== undefined);
  const plain = { rexX: 0, rexB: 0, ripRelative: false };
  if (names.length === 0) return { ...plain, mod: 0, rm: 6, displacement: value ?? 0n, displacementWidth: 16 };
  // "b" sorts before "d" and "s": the table's keys have the base first.
  const rm = RM16[names.sort().join(" ")];
  if (rm === undefined || memory.scale !== 1) {
    return `[${names.join(" + ")}] is not a 16-bit address`;
  }
  return { ...plain, rm, ...displacementOf(memory, value, 16, rm === 6) };
}

function isRipRelative(memory: MemoryOperand, context: AddressContext): boolean {
  if (context.bits !== 64 || memory.base !== undefined || memory.index !== undefined) return false;
  return (memory.addressing ?? (context.defaultRelative ? "rel" : "abs")) === "rel";
}

function encode32(
  memory: MemoryOperand,
  value: bigint | undefined,
  width: Width,
  context: AddressContext,
): EncodedAddress | string {
  const { base, index } = memory;
  if (index?.number === 4) return `${index.name} cannot be an index register`;
  const rexX = (index?.number ?? 0) >> 3;
  const rexB = (base?.number ?? 0) >> 3;
  const displacement = value ?? 0n;
  if (base === undefined) {
    const plain = { mod: 0, displacement, displacementWidth: 32, ripRelative: false, rexX, rexB } as const;
    if (index !== undefined) return { ...plain, rm: 4, sib: sibOf(memory, 5) };
    if (isRipRelative(memory, context)) return { ...plain, rm: 5, ripRelative: true };
    // In 64-bit mode the short form of a plain address became the RIP-relative one (section 2.2.1.6).
    return context.bits === 64 ? { ...plain, rm: 4, sib: 0x25 } : { ...plain, rm: 5 };
  }
  const needsSib = index !== undefined || (base.number & 7) === 4;
  return {
    rm: needsSib ? 4 : base.number & 7,
    sib: needsSib ? sibOf(memory, base.number & 7) : undefined,
    ripRelative: false,
    rexX,
    rexB,
    // With mod 0 the encoding of (r)bp and r13 means "no base".
    ...displacementOf(memory, value, width, (base.number & 7) === 5),
  };
}

function sibOf(memory: MemoryOperand, base: number): number {
  const index = memory.index === undefined ? 4 : memory.index.number & 7;
  return (Math.log2(memory.scale) << 6) | (index << 3) | base;
}

/** The shortest displacement that holds the value; a value that is not known yet gets the longest. */
function displacementOf(memory: MemoryOperand, value: bigint | undefined, width: Width, required: boolean) {
  const displacement = value ?? 0n;
  if (value === 0n && !required) return { mod: 0, displacement, displacementWidth: 0 } as const;
  if (!memory.hasDisplacement && !required) return { mod: 0, displacement, displacementWidth: 0 } as const;
  if (value !== undefined && fitsSigned(value, 8, width)) {
    return { mod: 1, displacement, displacementWidth: 8 } as const;
  }
  return { mod: 2, displacement, displacementWidth: width === 16 ? 16 : 32 } as const;
}
