import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Errno } from "../../../src/ffi/errno.ts";
import { Bpf, encodeProgram, type Instruction, LONGEST_PROGRAM, verdict } from "../../../src/ffi/jail/bpf.ts";
import { CallNumber } from "../../../src/ffi/jail/call_numbers.ts";
import { call } from "../../../src/ffi/jail/child_script.ts";
import { denyNewPrivileges } from "../../../src/ffi/jail/privileges.ts";
import {
  compileFilter,
  type Filter,
  type FilterRule,
  installFilter,
  type Verdict,
} from "../../../src/ffi/jail/seccomp.ts";
import { behind } from "../../support/jail.ts";

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const [KILL, LOG, ALLOW, EPERM] = [0x80000000, 0x7ffc0000, 0x7fff0000, 0x00050001];
const SIGSYS = 31;

/** Runs a program as the kernel would (Documentation/networking/filter.rst), on a struct seccomp_data. */
function run(
  program: readonly Instruction[],
  number: number,
  args: readonly bigint[] = [],
  architecture = X86_64,
): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, number, true);
  data.setUint32(4, architecture, true);
  args.forEach((value, i) => data.setBigUint64(16 + 8 * i, BigInt.asUintN(64, value), true));
  let a = 0;
  for (let at = 0;; at++) {
    const { code, jumpTrue, jumpFalse, operand } = program[at];
    if (code === Bpf.RETURN) return operand;
    if (code === Bpf.LOAD) a = data.getUint32(operand, true);
    else if (code === Bpf.AND) a = (a & operand) >>> 0;
    else at += (code === Bpf.JUMP_EQUAL ? a === operand : a >= operand) ? jumpTrue : jumpFalse;
  }
}

const FILTER: Filter = {
  rules: [
    { call: "read", verdict: "allow" },
    { call: "mmap", when: [{ index: 2, mask: 4, equals: 0 }], verdict: "allow" },
    { call: "mmap", when: [{ index: 3, mask: 0x20, equals: 0x20 }, { index: 4, equals: -1 }], verdict: "allow" },
    { call: "mmap", verdict: { errno: Errno.EPERM } },
    { call: "close", verdict: "allow" },
  ],
  otherwise: "kill",
};

Deno.test("a rule applies to its call, and what no rule is for gets the filter's own verdict", () => {
  const program = compileFilter(FILTER);
  assertEquals([CallNumber.read, CallNumber.close, CallNumber.write].map((call) => run(program, call)), [
    ALLOW,
    ALLOW,
    KILL,
  ]);
});

Deno.test("of the rules for a call the first whose tests all hold applies", () => {
  const program = compileFilter(FILTER);
  const map = (protection: bigint, flags: bigint, fd: bigint) =>
    run(program, CallNumber.mmap, [0n, 4096n, protection, flags, fd, 0n]);
  assertEquals([map(3n, 1n, 5n), map(5n, 0x22n, -1n), map(5n, 0x22n, 3n), map(5n, 2n, 3n)], [
    ALLOW,
    ALLOW,
    EPERM,
    EPERM,
  ]);
});

Deno.test("of an argument the low 32 bits are looked at: the kernel takes no more of an int", () => {
  const program = compileFilter(FILTER);
  const map = (protection: bigint) => run(program, CallNumber.mmap, [0n, 0n, protection, 2n, 3n, 0n]);
  assertEquals([map(0xffff_ffff_0000_0004n), map(0xffff_ffff_0000_0003n)], [EPERM, ALLOW]);
});

Deno.test("of a pointer both halves can be looked at", () => {
  const isNull = [{ index: 2, equals: 0 }, { index: 2, half: "upper" as const, equals: 0 }];
  const program = compileFilter({ rules: [{ call: "read", when: isNull, verdict: "allow" }], otherwise: "kill" });
  const read = (pointer: bigint) => run(program, CallNumber.read, [0n, 0n, pointer]);
  assertEquals([read(0n), read(1n), read(1n << 32n), read(1n << 63n)], [ALLOW, KILL, KILL, KILL]);
});

Deno.test("calls of another architecture, and those of x32, end the process whatever the rules say", () => {
  const program = compileFilter({ rules: [{ call: "read", verdict: "allow" }], otherwise: "allow" });
  assertEquals(run(program, CallNumber.read, [], I386), KILL);
  assertEquals([0x40000000, 0x40000000 + CallNumber.read, 0xffffffff].map((number) => run(program, number)), [
    KILL,
    KILL,
    KILL,
  ]);
  assertEquals(run(program, 0x3fffffff), ALLOW);
});

/** What the rules say, told without a program. */
function expected({ rules, otherwise }: Filter, number: number, args: readonly bigint[]): Verdict {
  const holds = ({ call, when = [] }: FilterRule) =>
    CallNumber[call] === number &&
    when.every(({ index, half, mask = -1, equals }) => {
      const word = half === "upper" ? args[index] >> 32n : args[index];
      return (Number(BigInt.asIntN(32, word)) & mask) === (equals | 0);
    });
  return rules.find(holds)?.verdict ?? otherwise;
}

Deno.test("any rules do what they say", () => {
  const names = ["read", "mmap", "ioctl"] as const;
  const decision = fc.constantFrom<Verdict>("allow", "log", "kill", { errno: 1 });
  const test = fc.record({
    ...{ index: fc.nat(5), equals: fc.nat(3), mask: fc.constantFrom(undefined, 1, 2, 3) },
    half: fc.constantFrom(undefined, "lower" as const, "upper" as const),
  });
  const rule = fc.record({
    call: fc.constantFrom(...names),
    when: fc.array(test, { maxLength: 3 }),
    verdict: decision,
  });
  const filter = fc.record({ rules: fc.array(rule, { maxLength: 8 }), otherwise: decision });
  const word = fc.tuple(fc.bigInt(0n, 3n), fc.bigInt(0n, 3n)).map(([upper, lower]) => upper << 32n | lower);
  const args = fc.array(word, { minLength: 6, maxLength: 6 });
  fc.assert(fc.property(filter, fc.constantFrom(...names), args, (filter, name, args) => {
    const words = { allow: ALLOW, log: LOG, kill: KILL };
    const wanted = expected(filter, CallNumber[name], args);
    const word = typeof wanted === "string" ? words[wanted] : EPERM;
    assertEquals(run(compileFilter(filter), CallNumber[name], args), word);
  }));
});

Deno.test("a program that the kernel would not take is refused", () => {
  assertThrows(() => encodeProgram([]), RangeError);
  assertThrows(() => encodeProgram(new Array(LONGEST_PROGRAM + 1).fill(verdict(0))), RangeError);
});

Deno.test("the kernel carries out a filter's verdicts", () => {
  const filter: Filter = {
    rules: [
      { call: "exit_group", verdict: "allow" },
      { call: "getpid", verdict: "allow" },
      { call: "getppid", verdict: { errno: Errno.EDOM } },
      { call: "close", when: [{ index: 0, equals: -2 }], verdict: { errno: Errno.ERANGE } },
      { call: "close", verdict: "allow" },
    ],
    otherwise: "kill",
  };
  const steps = [denyNewPrivileges(), installFilter(filter)];
  const calls = [call("getpid", []), call("getppid", []), call("close", [-2]), call("close", [-1])];
  const { status, results: [pid, ...others] } = behind(steps, calls);
  assert(pid! > 0);
  assertEquals([status, others], [{ code: 0 }, [-Errno.EDOM, -Errno.ERANGE, -Errno.EBADF]]);
  assertEquals(behind(steps, [call("getuid", [])]), { status: { signal: SIGSYS }, results: [undefined] });
});
