/**
 * Classic BPF programs as seccomp runs them (linux/filter.h, linux/bpf_common.h; Documentation/userspace-api/seccomp_filter.rst): built,
 * and put into bytes.
 *
 * @module
 */

/** struct sock_filter: an operation, how many instructions to skip if it holds and if not, and an operand of 32 bits. */
export interface Instruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  readonly operand: number;
}

/** Operations that filters of system calls use. */
export const Bpf = {
  /** BPF_LD | BPF_W | BPF_ABS: A = the word at an offset of struct seccomp_data. */
  LOAD: 0x20,
  /** BPF_ALU | BPF_AND | BPF_K: A &= operand. */
  AND: 0x54,
  /** BPF_JMP | BPF_JEQ | BPF_K: whether A equals the operand. */
  JUMP_EQUAL: 0x15,
  /** BPF_JMP | BPF_JGE | BPF_K: whether A is the operand or above, unsigned. */
  JUMP_NOT_BELOW: 0x35,
  /** BPF_RET | BPF_K: the operand is the verdict. */
  RETURN: 0x06,
} as const;

/** The most instructions that a program may have (BPF_MAXINSNS). */
export const LONGEST_PROGRAM = 4096;

const INSTRUCTION_SIZE = 8;

/** A = the little-endian word at `offset` of struct seccomp_data. */
export function load(offset: number): Instruction {
  return { code: Bpf.LOAD, jumpTrue: 0, jumpFalse: 0, operand: offset };
}

/** A &= mask. */
export function and(mask: number): Instruction {
  return { code: Bpf.AND, jumpTrue: 0, jumpFalse: 0, operand: mask >>> 0 };
}

/** Goes on with the next instruction if A equals `value`, and skips `otherwise` instructions if not. */
export function unlessEqual(value: number, otherwise: number): Instruction {
  return jump(Bpf.JUMP_EQUAL, value, 0, otherwise);
}

/** Ends the program with `action` if A equals one of `values`, and goes on behind itself if not. */
export function endIfOneOf(values: readonly number[], action: number): Instruction[] {
  const last = values.length - 1;
  const tests = values.map((value, i) => jump(Bpf.JUMP_EQUAL, value, last - i, i === last ? 1 : 0));
  return [...tests, verdict(action)];
}

/** Skips `skip` instructions if A is below `value`. */
export function ifBelow(value: number, skip: number): Instruction {
  return jump(Bpf.JUMP_NOT_BELOW, value, 0, skip);
}

/** Ends the program. */
export function verdict(action: number): Instruction {
  return { code: Bpf.RETURN, jumpTrue: 0, jumpFalse: 0, operand: action >>> 0 };
}

function jump(code: number, operand: number, jumpTrue: number, jumpFalse: number): Instruction {
  if (jumpTrue > 255 || jumpFalse > 255) {
    throw new RangeError(`A jump cannot skip ${Math.max(jumpTrue, jumpFalse)} instructions`);
  }
  return { code, jumpTrue, jumpFalse, operand: operand >>> 0 };
}

/** An array of struct sock_filter. @throws {RangeError} for a program that the kernel would not take for its length. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  if (program.length === 0 || program.length > LONGEST_PROGRAM) {
    throw new RangeError(`A BPF program cannot have ${program.length} instructions`);
  }
  const view = new DataView(new ArrayBuffer(program.length * INSTRUCTION_SIZE));
  program.forEach(({ code, jumpTrue, jumpFalse, operand }, i) => {
    const at = i * INSTRUCTION_SIZE;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jumpTrue);
    view.setUint8(at + 3, jumpFalse);
    view.setUint32(at + 4, operand, true);
  });
  return new Uint8Array(view.buffer);
}
