/**
 * Turns an instruction into bytes: picks, among the forms that take its operands, the shortest.
 *
 * @module
 */

import { addressWidthOf, encodeAddress, type EncodedAddress } from "./address.ts";
import { Problem } from "./errors.ts";
import type { Scope } from "./expression.ts";
import { fits, fitsSigned, littleEndian, show } from "./immediate.ts";
import { type Form, FORMS, SEGMENT_OVERRIDES } from "./opcode_table.ts";
import type { MemoryOperand, Operand, Register, Width } from "./operand.ts";

/** A parsed instruction. */
export interface Instruction {
  readonly mnemonic: string;
  readonly operands: readonly Operand[];
  /** LOCK and REP bytes, in the order written. */
  readonly prefixes: readonly number[];
  /** From `o16 o32 o64` and `a16 a32 a64`. */
  readonly operandSize: Width | undefined;
  readonly addressSize: Width | undefined;
}

/** Where an instruction stands. */
export interface EncodeContext {
  readonly bits: 16 | 32 | 64;
  readonly scope: Scope;
  /** Whether `[label]` without registers is RIP-relative in 64-bit mode. */
  readonly defaultRelative: boolean;
  /** Its length in the pass before. It never shrinks again, so that passes come to an end. */
  readonly minimumLength: number;
}

/** Why a form does not do; the one that came furthest is reported. */
interface Refusal {
  readonly stage: 0 | 1 | 2 | 3;
  readonly why: string;
}

const refuse = (stage: Refusal["stage"], why: string): Refusal => ({ stage, why });

/** Operand codes that stand for a register. `type` is what they say of the operand size. */
const FIXED: Readonly<Record<string, { names: readonly string[]; type: string }>> = {
  AL: { names: ["al"], type: "b" },
  CL: { names: ["cl"], type: "" },
  DX: { names: ["dx"], type: "" },
  rAX: { names: ["ax", "eax", "rax"], type: "v" },
  eAX: { names: ["ax", "eax"], type: "z" },
  ES: { names: ["es"], type: "" },
  CS: { names: ["cs"], type: "" },
  SS: { names: ["ss"], type: "" },
  DS: { names: ["ds"], type: "" },
  FS: { names: ["fs"], type: "" },
  GS: { names: ["gs"], type: "" },
};

const typeOf = (code: string) => FIXED[code]?.type ?? code.slice(1);
const TYPE_WIDTHS: Readonly<Record<string, readonly Width[]>> = {
  b: [8],
  w: [16],
  d: [32],
  q: [64],
  v: [16, 32, 64],
  z: [16, 32],
  y: [32, 64],
  p: [16, 32, 64],
};

/**
 * The bytes of an instruction.
 *
 * @throws {Problem} when there is no such instruction, or none with these operands.
 */
export function encodeInstruction(instruction: Instruction, context: EncodeContext): number[] {
  const forms = FORMS.get(instruction.mnemonic);
  if (forms === undefined) throw new Problem(`unknown instruction ${instruction.mnemonic}`);
  let best: number[] | undefined;
  let refusal = refuse(0, `${instruction.mnemonic} does not take these operands`);
  for (const form of forms) {
    const result = encodeForm(form, instruction, context);
    if (!Array.isArray(result)) {
      if (result.stage > refusal.stage) refusal = result;
    } else if (result.length >= context.minimumLength && (best === undefined || result.length < best.length)) {
      best = result;
    }
  }
  if (best === undefined) throw new Problem(refusal.why);
  return best;
}

function encodeForm(form: Form, instruction: Instruction, context: EncodeContext): number[] | Refusal {
  const { operands } = instruction;
  if (operands.length !== form.operands.length) return refuse(0, `${form.mnemonic} does not take these operands`);
  if (form.flags.has("only64") && context.bits !== 64) return refuse(1, `${form.mnemonic} exists in 64-bit mode only`);
  if (form.flags.has("i64") && context.bits === 64) return refuse(1, `${form.mnemonic} does not exist in 64-bit mode`);
  for (let index = 0; index < operands.length; index++) {
    const refusal = matchOperand(form, index, operands, context);
    if (refusal !== undefined) return refusal;
  }
  const size = resolveOperandSize(form, instruction, context.bits);
  return typeof size === "number" ? emit(form, instruction, size, context) : size;
}

function matchOperand(
  form: Form,
  index: number,
  operands: readonly Operand[],
  context: EncodeContext,
): Refusal | undefined {
  const code = form.operands[index];
  const operand = operands[index];
  const mismatch = refuse(0, `${form.mnemonic} does not take these operands`);
  if (FIXED[code] !== undefined) {
    return operand.kind === "register" && FIXED[code].names.includes(operand.register.name) ? undefined : mismatch;
  }
  if (code === "1") return operand.kind === "immediate" && operand.value(context.scope) === 1n ? undefined : mismatch;
  switch (operand.kind) {
    case "register":
      if (code[0] === "Z" && operand.register.number === 0 && form.flags.has("other")) return mismatch;
      return matchRegister(code, operand.register, context.bits) ? undefined : mismatch;
    case "memory":
      return "EMO".includes(code[0]) ? matchMemory(form, index, operand, operands) : mismatch;
    case "pointer":
      return code[0] === "A" ? undefined : mismatch;
    case "immediate":
      if (code[0] === "J") return matchDistance(code, operand.distance);
      return code[0] === "I" && operand.distance === undefined ? undefined : mismatch;
  }
}

function matchRegister(code: string, register: Register, bits: 16 | 32 | 64): boolean {
  const file = { S: "segment", C: "control", D: "debug" }[code[0]];
  if (file !== undefined) return register.file === file;
  if (!"EGRZ".includes(code[0]) || register.file !== "general") return false;
  const type = typeOf(code);
  if (type === "n") return register.width === (bits === 64 ? 64 : 32);
  return TYPE_WIDTHS[type]?.includes(register.width) ?? false;
}

function matchMemory(
  form: Form,
  index: number,
  memory: MemoryOperand,
  operands: readonly Operand[],
): Refusal | undefined {
  const code = form.operands[index];
  const type = typeOf(code);
  const mismatch = refuse(1, `${form.mnemonic} does not take a memory operand of this width`);
  if ((type === "p") !== memory.far && (memory.far || form.flags.has("far"))) return mismatch;
  if (code[0] === "O" && (memory.base !== undefined || memory.index !== undefined || memory.addressing === "rel")) {
    return mismatch;
  }
  if (memory.width !== undefined) {
    return type === "" || TYPE_WIDTHS[type].includes(memory.width) ? undefined : mismatch;
  }
  const isPinned = form.operands.some((other, at) => operands[at].kind === "register" && typeOf(other) === type);
  if (type === "" || type === "p" || isPinned || form.flags.has("any")) return undefined;
  return refuse(2, "the width of the memory operand is missing: byte, word, dword or qword");
}

function matchDistance(code: string, distance: "short" | "near" | undefined): Refusal | undefined {
  const own = code === "Jb" ? "short" : "near";
  return distance === undefined || distance === own ? undefined : refuse(1, `there is no ${distance} form`);
}

/** The operand size: from the form, else from the operands, else as asked for, else the mode's default. */
function resolveOperandSize(form: Form, instruction: Instruction, bits: 16 | 32 | 64): Width | Refusal {
  const own = ([16, 32, 64] as const).find((width) => form.flags.has(`o${width}`));
  const fallback = bits === 16 ? 16 : bits === 64 && form.flags.has("d64") ? 64 : 32;
  const explicit = explicitSizes(form, instruction.operands);
  if (new Set(explicit).size > 1) return refuse(1, "the operands differ in width");
  const size = own ?? explicit[0] ?? immediateSize(form, instruction.operands) ?? instruction.operandSize ?? fallback;
  if (instruction.operandSize !== undefined && instruction.operandSize !== size) {
    return refuse(1, `o${instruction.operandSize} contradicts the operands`);
  }
  if (size === 64 && bits !== 64) return refuse(1, "64-bit operands exist in 64-bit mode only");
  if (size === 32 && bits === 64 && form.flags.has("d64")) {
    return refuse(1, `${form.mnemonic} has no 32-bit form in 64-bit mode`);
  }
  return size;
}

function explicitSizes(form: Form, operands: readonly Operand[]): Width[] {
  return operands.flatMap((operand, index) => {
    const type = typeOf(form.operands[index]);
    if (!"vzyp".includes(type) || type === "") return [];
    if (operand.kind === "register") return [operand.register.width];
    return operand.kind === "memory" && operand.width !== undefined ? [operand.width] : [];
  });
}

/** `push dword 5`, `jmp dword 8:entry`: here the immediate's width is the operand size. */
function immediateSize(form: Form, operands: readonly Operand[]): Width | undefined {
  if (operands.length !== 1) return undefined;
  const [operand] = operands;
  if (operand.kind !== "immediate" && operand.kind !== "pointer") return undefined;
  const followsSize = ["Ibs", "Iz", "Ap"].includes(form.operands[0]);
  return followsSize && operand.width !== 8 ? operand.width : undefined;
}

/** The parts of an instruction that operands fill in. */
interface Fields {
  reg: number;
  rm: number | EncodedAddress | undefined;
  opcodeRegister: number;
  immediates: number[];
  /** A branch target; the displacement to it ends the instruction. */
  target?: { value: bigint | undefined; width: Width };
  registers: Register[];
}

function emit(form: Form, instruction: Instruction, size: Width, context: EncodeContext): number[] | Refusal {
  const { bits } = context;
  const addressSize = addressSizeOf(form, instruction, bits);
  if (typeof addressSize !== "number") return addressSize;
  const fields = fillFields(form, instruction, size, addressSize, context);
  if ("why" in fields) return fields;
  const rex = rexOf(form, fields, size, bits);
  if (typeof rex !== "number") return rex;

  const bytes = [...instruction.prefixes];
  const memory = instruction.operands.find((operand) => operand.kind === "memory");
  if (memory?.segment !== undefined) bytes.push(SEGMENT_OVERRIDES[memory.segment.number]);
  if (addressSize !== bits) bytes.push(0x67);
  if ((size === 16) !== (bits === 16)) bytes.push(0x66);
  if (form.mandatoryPrefix !== undefined) bytes.push(form.mandatoryPrefix);
  if (rex !== 0) bytes.push(rex);
  bytes.push(...form.opcode);
  bytes[bytes.length - 1] += fields.opcodeRegister;
  return finish(bytes, fields, context);
}

/** The REX prefix, or 0 for none (SDM volume 2, section 2.2.1). */
function rexOf(form: Form, fields: Fields, size: Width, bits: 16 | 32 | 64): number | Refusal {
  const address = typeof fields.rm === "object" ? fields.rm : undefined;
  const b = address?.rexB ?? (typeof fields.rm === "number" ? fields.rm >> 3 : fields.opcodeRegister >> 3);
  const w = size === 64 && !form.flags.has("d64") ? 1 : 0;
  const extended = (w << 3) | ((fields.reg >> 3) << 2) | ((address?.rexX ?? 0) << 1) | b;
  const required = extended !== 0 || fields.registers.some((register) => register.rex === "required");
  fields.reg &= 7;
  fields.opcodeRegister &= 7;
  if (!required) return 0;
  if (bits !== 64) return refuse(2, "a register that exists in 64-bit mode only");
  const forbidden = fields.registers.find((register) => register.rex === "forbidden");
  if (forbidden !== undefined) return refuse(2, `${forbidden.name} cannot be used together with a REX prefix`);
  return 0x40 | extended;
}

function addressSizeOf(form: Form, instruction: Instruction, bits: 16 | 32 | 64): Width | Refusal {
  const memory = instruction.operands.find((operand) => operand.kind === "memory");
  const own = ([16, 32, 64] as const).find((width) => form.flags.has(`a${width}`));
  const size = own ?? (memory && addressWidthOf(memory)) ?? instruction.addressSize ?? bits;
  const exists = bits === 64 ? size !== 16 : size !== 64;
  return exists ? size : refuse(2, `no ${size}-bit addresses in ${bits}-bit mode`);
}

function fillFields(
  form: Form,
  instruction: Instruction,
  size: Width,
  addressSize: Width,
  context: EncodeContext,
): Fields | Refusal {
  const fields: Fields = {
    reg: form.extension ?? 0,
    rm: undefined,
    opcodeRegister: 0,
    immediates: [],
    registers: [],
  };
  for (let index = 0; index < instruction.operands.length; index++) {
    const code = form.operands[index];
    const operand = instruction.operands[index];
    if (operand.kind === "register") {
      fillRegister(fields, code, operand.register);
    } else if (operand.kind === "memory") {
      const refusal = fillMemory(fields, code, operand, addressSize, context);
      if (refusal !== undefined) return refusal;
    } else if (code !== "1") {
      const refusal = fillConstant(fields, code, operand, size, context);
      if (refusal !== undefined) return refusal;
    }
  }
  return fields;
}

function fillRegister(fields: Fields, code: string, register: Register): void {
  if (FIXED[code] !== undefined) return;
  fields.registers.push(register);
  if (code[0] === "Z") fields.opcodeRegister = register.number;
  else if (code[0] === "E" || code[0] === "R") fields.rm = register.number;
  else fields.reg = register.number;
}

function fillMemory(
  fields: Fields,
  code: string,
  memory: MemoryOperand,
  addressSize: Width,
  context: EncodeContext,
): Refusal | undefined {
  if (code[0] !== "O") {
    const address = encodeAddress(memory, addressSize, context);
    if (typeof address === "string") return refuse(3, address);
    fields.rm = address;
    return undefined;
  }
  const value = memory.displacement(context.scope);
  if (value !== undefined && !fits(value, addressSize)) {
    return refuse(2, `address ${show(value)} does not fit in ${addressSize} bits`);
  }
  fields.immediates.push(...littleEndian(value ?? 0n, addressSize));
  return undefined;
}

function fillConstant(
  fields: Fields,
  code: string,
  operand: Extract<Operand, { kind: "immediate" | "pointer" }>,
  size: Width,
  context: EncodeContext,
): Refusal | undefined {
  const narrow = size === 64 ? 32 : size;
  if (operand.kind === "pointer") {
    return pushChecked(fields, operand.offset(context.scope), narrow, size) ??
      pushChecked(fields, operand.segment(context.scope), 16, 16);
  }
  const value = operand.value(context.scope);
  if (code[0] === "J") {
    fields.target = { value, width: code === "Jb" ? 8 : narrow };
    return undefined;
  }
  if (code === "Ibs") return pushSignExtended(fields, operand.width, value, size);
  const width = { Ib: 8, Iw: 16, Iz: narrow, Iv: size }[code] as Width;
  const extended = code === "Iz" ? size : width;
  if (operand.width !== undefined && operand.width !== width && operand.width !== extended) {
    return refuse(1, "the operands differ in width");
  }
  return pushChecked(fields, value, width, extended);
}

/** The short form of an immediate: taken only if the value is known to survive it. */
function pushSignExtended(
  fields: Fields,
  written: Width | undefined,
  value: bigint | undefined,
  size: Width,
): Refusal | undefined {
  if (written !== undefined && written !== 8 && written !== size) return refuse(1, "the operands differ in width");
  if (value === undefined || !fitsSigned(value, 8, size)) {
    return refuse(1, "the value does not fit in a sign-extended byte");
  }
  fields.immediates.push(...littleEndian(value, 8));
  return undefined;
}

function pushChecked(
  fields: Fields,
  value: bigint | undefined,
  width: Width,
  extended: Width,
): Refusal | undefined {
  const inRange = value === undefined || (extended > width ? fitsSigned(value, width, extended) : fits(value, width));
  if (!inRange) return refuse(3, `value ${show(value!)} does not fit in ${width} bits`);
  fields.immediates.push(...littleEndian(value ?? 0n, width));
  return undefined;
}

/** ModRM, SIB, displacement and immediates, in this order (SDM volume 2, figure 2-1). */
function finish(bytes: number[], fields: Fields, context: EncodeContext): number[] | Refusal {
  const { rm } = fields;
  if (typeof rm === "number") bytes.push(0xc0 | (fields.reg << 3) | (rm & 7));
  if (typeof rm === "object") {
    bytes.push((rm.mod << 6) | (fields.reg << 3) | rm.rm);
    if (rm.sib !== undefined) bytes.push(rm.sib);
    if (rm.displacementWidth !== 0) {
      const length = bytes.length + rm.displacementWidth / 8 + fields.immediates.length;
      const value = rm.ripRelative ? rm.displacement - context.scope.here - BigInt(length) : rm.displacement;
      if (rm.ripRelative && !fitsSigned(value, 32, 64)) {
        return refuse(3, `address ${show(rm.displacement)} is out of reach`);
      }
      bytes.push(...littleEndian(value, rm.displacementWidth));
    }
  }
  bytes.push(...fields.immediates);
  return fields.target === undefined ? bytes : appendBranch(bytes, fields.target, context);
}

function appendBranch(
  bytes: number[],
  { value, width }: { value: bigint | undefined; width: Width },
  { scope, bits }: EncodeContext,
): number[] | Refusal {
  const next = scope.here + BigInt(bytes.length + width / 8);
  const distance = value === undefined ? 0n : value - next;
  // A near jump wraps at the operand size; only in 64-bit mode can a target be out of its reach.
  const wraps = width > 8 && bits !== 64;
  if (wraps ? value !== undefined && !fits(value, width) : !fitsSigned(distance, width, 64)) {
    return refuse(3, `the target is ${distance} bytes away, out of reach of ${width} bits`);
  }
  return [...bytes, ...littleEndian(distance, width)];
}
