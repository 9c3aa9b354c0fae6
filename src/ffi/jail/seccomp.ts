/**
 * Filters of system calls (seccomp(2)): rules, the program that carries them out, and putting it on a process.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "../errno.ts";
import { addressOf } from "../memory.ts";
import { syscalls } from "../syscall.ts";
import { and, encodeProgram, endIfOneOf, ifBelow, type Instruction, load, unlessEqual, verdict } from "./bpf.ts";
import { type CallName, CallNumber } from "./call_numbers.ts";
import { call, type ScriptCall } from "./child_script.ts";

/**
 * What becomes of a call: it is made, it is made and told of in the kernel's log, it ends the process (by SIGSYS, and is told of there as
 * well), or it is answered with an error number without being made.
 */
export type Verdict = "allow" | "log" | "kill" | { readonly errno: number };

/** What an argument has to be for a rule to apply. */
export interface ArgumentTest {
  /** Which: 0 to 5. */
  readonly index: number;
  /** Which 32 bits of it. Of an `int` the kernel looks at no others than the lower ones; a pointer takes a test of each half. @default {"lower"} */
  readonly half?: "lower" | "upper";
  /** The bits that count. @default {all} */
  readonly mask?: number;
  /** What they have to be. */
  readonly equals: number;
}

/** A rule. Of the rules for a call the first whose tests all hold applies. */
export interface FilterRule {
  readonly call: CallName;
  /** @default {none: the rule always applies} */
  readonly when?: readonly ArgumentTest[];
  readonly verdict: Verdict;
}

/** Rules, and what becomes of all other calls. */
export interface Filter {
  readonly rules: readonly FilterRule[];
  readonly otherwise: Verdict;
}

/** linux/seccomp.h */
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const RET_KILL_PROCESS = 0x8000_0000;
const RET_ERRNO = 0x0005_0000;
const RET_LOG = 0x7ffc_0000;
const RET_ALLOW = 0x7fff_0000;

/** struct seccomp_data: the call's number, the architecture, the instruction's address, six arguments of 64 bits. */
const DATA_NUMBER = 0;
const DATA_ARCHITECTURE = 4;
const DATA_ARGUMENTS = 16;

/** linux/audit.h: EM_X86_64, 64 bits, little-endian. The calls of `int 0x80` have another, and other numbers. */
const AUDIT_ARCH_X86_64 = 0xc000_003e;
/** Numbers from here on are x32's (asm/unistd.h, __X32_SYSCALL_BIT): other calls under the same architecture. */
const X32_CALLS = 0x4000_0000;

/** How far a jump reaches (linux/filter.h: u8 jt, jf), with room for what stands around the rules that it passes. */
const MOST_ALIKE = 250;

/** struct sock_fprog: u16 len @0, pointer to the program @8. */
const HEADER_SIZE = 16;

function action(verdict: Verdict): number {
  if (verdict === "allow") return RET_ALLOW;
  if (verdict === "log") return RET_LOG;
  if (verdict === "kill") return RET_KILL_PROCESS;
  return RET_ERRNO | verdict.errno & 0xffff;
}

function argumentOffset({ index, half = "lower" }: Pick<ArgumentTest, "index" | "half">): number {
  return DATA_ARGUMENTS + 8 * index + (half === "upper" ? 4 : 0);
}

function testArgument(test: ArgumentTest, otherwise: number): Instruction[] {
  const masked = test.mask === undefined ? [] : [and(test.mask)];
  return [load(argumentOffset(test)), ...masked, unlessEqual(test.equals, otherwise)];
}

/** A rule as a block that ends the program or goes on behind itself. A is the call's number before it, and behind it. */
function compileRule({ call, when = [], verdict: decision }: FilterRule): Instruction[] {
  const end = [verdict(action(decision))];
  if (when.length === 0) return [unlessEqual(CallNumber[call], 1), ...end];
  let block: Instruction[] = end;
  for (const test of [...when].reverse()) block = [...testArgument(test, block.length), ...block];
  // Tests have put something else into A.
  block.push(load(DATA_NUMBER));
  return [unlessEqual(CallNumber[call], block.length), ...block];
}

/**
 * How many rules from one on can be told apart by comparing a single word: those that allow calls without conditions, or one call for several
 * values of an argument. They are most, and each access of a guest to a device passes by them.
 */
function countAlike(rules: readonly FilterRule[], from: number): number {
  const first = rules[from];
  const alike = (rule: FilterRule) => {
    if (rule.verdict !== "allow" || first.verdict !== "allow") return false;
    if (unconditional(first)) return unconditional(rule);
    return rule.call === first.call && comparedWord(rule) === comparedWord(first);
  };
  let end = from + 1;
  if (unconditional(first) || comparedWord(first) !== undefined) {
    while (end < rules.length && end - from < MOST_ALIKE && alike(rules[end])) end++;
  }
  return end - from;
}

function unconditional({ when = [] }: FilterRule): boolean {
  return when.length === 0;
}

/** Where the word is that alone decides whether a rule applies, by all of its bits. */
function comparedWord({ when = [] }: FilterRule): number | undefined {
  return when.length === 1 && when[0].mask === undefined ? argumentOffset(when[0]) : undefined;
}

function compileAlike(rules: readonly FilterRule[]): Instruction[] {
  const [first] = rules;
  if (unconditional(first)) return endIfOneOf(rules.map(({ call }) => CallNumber[call]), RET_ALLOW);
  const values = rules.map(({ when }) => when![0].equals);
  const block = [load(argumentOffset(first.when![0])), ...endIfOneOf(values, RET_ALLOW), load(DATA_NUMBER)];
  return [unlessEqual(CallNumber[first.call], block.length), ...block];
}

function compileRules(rules: readonly FilterRule[]): Instruction[] {
  const program: Instruction[] = [];
  for (let i = 0; i < rules.length;) {
    const count = countAlike(rules, i);
    program.push(...count > 1 ? compileAlike(rules.slice(i, i + count)) : compileRule(rules[i]));
    i += count;
  }
  return program;
}

/** The program of a filter: calls of another architecture, or of x32, end the process whatever the rules say. */
export function compileFilter({ rules, otherwise }: Filter): Instruction[] {
  return [
    load(DATA_ARCHITECTURE),
    unlessEqual(AUDIT_ARCH_X86_64, 2),
    load(DATA_NUMBER),
    ifBelow(X32_CALLS, 1),
    verdict(RET_KILL_PROCESS),
    ...compileRules(rules),
    verdict(action(otherwise)),
  ];
}

/** struct sock_fprog, and behind it the program that it points to. */
function filterProgram(filter: Filter): Uint8Array<ArrayBuffer> {
  const instructions = compileFilter(filter);
  const program = encodeProgram(instructions);
  const bytes = new Uint8Array(HEADER_SIZE + program.length);
  bytes.set(program, HEADER_SIZE);
  const header = new DataView(bytes.buffer);
  header.setUint16(0, instructions.length, true);
  header.setBigUint64(8, addressOf(bytes) + BigInt(HEADER_SIZE), true);
  return bytes;
}

/** Puts a filter on the child of a script, and on the program that it executes: to be preceded by {@linkcode denyNewPrivileges}. */
export function installFilter(filter: Filter): ScriptCall {
  return call("seccomp", [SECCOMP_SET_MODE_FILTER, 0, filterProgram(filter)], { of: "SECCOMP_SET_MODE_FILTER" });
}

/**
 * Puts a filter on every thread of this process, for good. It adds to those that are there: the strictest verdict counts.
 *
 * @throws {SyscallError} EACCES where neither no_new_privs is set nor the right to do without; ENOSYS and EINVAL where the kernel has
 * no filters. No thread has the filter then.
 */
export function filterThisProcess(filter: Filter): void {
  const result = syscalls().seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, filterProgram(filter));
  const name = "seccomp(SECCOMP_SET_MODE_FILTER)";
  // A thread with filters that this one does not have stands in the way; its id is returned.
  if (result > 0) throw new SyscallError(name, Errno.ESRCH);
  checked(name, result);
}
