/**
 * Read/write instructions: one register, SFBR, eight bits of data, and the ALU between them.
 *
 * Source: manual, section 5.5 "Read/Write Instructions", table 5.2.
 *
 * @module
 */
import type { ScriptsContext } from "./scripts_context.ts";
import { Reg } from "./registers.ts";

/** Operators (bits 26 to 24). */
const Operator = { MOVE: 0, SHL: 1, OR: 2, XOR: 3, AND: 4, SHR: 5, ADD: 6, ADC: 7 } as const;

/** Opcodes (bits 29 to 27): SFBR to register, register to SFBR, register to itself. */
const Opcode = { FROM_SFBR: 5, TO_SFBR: 6 } as const;

/** Bit 23 of a read-modify-write: the second operand is SFBR instead of data. */
const USE_SFBR = 0x00800000;

/**
 * One ALU operation.
 *
 * @param left The register's byte, or SFBR.
 * @param right The instruction's byte.
 * @param carry 0 or 1; shifts rotate through it, and only shifts and additions change it.
 * @returns The result in bits 7 to 0, the new carry in bit 8.
 */
export function operate(operator: number, left: number, right: number, carry: number): number {
  const kept = carry << 8;
  switch (operator) {
    case Operator.MOVE:
      return right | kept;
    case Operator.SHL:
      return (left << 1) | carry;
    case Operator.OR:
      return left | right | kept;
    case Operator.XOR:
      return (left ^ right) | kept;
    case Operator.AND:
      return (left & right) | kept;
    case Operator.SHR:
      return (left >> 1) | (carry << 7) | ((left & 1) << 8);
    case Operator.ADD:
      return left + right;
    default:
      return left + right + carry;
  }
}

/** Executes a read/write instruction. */
export function readWrite(context: ScriptsContext, first: number): void {
  const { file, chip, port } = context;
  const opcode = (first >>> 27) & 7;
  const operator = (first >>> 24) & 7;
  const register = ((first >>> 16) & 0x7f) | (first & 0x80);
  const sfbr = file.bytes[Reg.SFBR];
  const data = opcode > Opcode.TO_SFBR && (first & USE_SFBR) !== 0 ? sfbr : (first >>> 8) & 0xff;
  // A plain move does not look at the register, whose reading may have effects.
  const read = opcode !== Opcode.FROM_SFBR && operator !== Operator.MOVE;
  const result = operate(operator, read ? port.read(register) : sfbr, data, chip.carry);
  chip.carry = result >> 8;
  port.write(opcode === Opcode.TO_SFBR ? Reg.SFBR : register, result & 0xff);
}
