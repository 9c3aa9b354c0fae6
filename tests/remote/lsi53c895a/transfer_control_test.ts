import { assertEquals } from "@std/assert";
import { Dstat, Istat0, Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, dataInTarget, FakeTarget, RAM_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** Runs a program and returns the vector of the INT that ended it. */
function vector(bench: Bench, ...program: number[][]): number {
  bench.run(program);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  return bench.read32(Reg.DSPS);
}

/** A bench whose SFBR is `sfbr`. */
function withSfbr(sfbr: number): Bench {
  const bench = new Bench();
  bench.write8(Reg.SFBR, sfbr);
  return bench;
}

Deno.test("JUMP goes to an absolute address", () => {
  assertEquals(vector(new Bench(), S.jump(RAM_BASE + 24), S.int(1), S.nop(), S.int(2)), 2);
});

Deno.test("a relative JUMP counts from the next instruction, forwards and backwards", () => {
  assertEquals(vector(new Bench(), S.jumpRelative(8), S.int(1), S.int(2)), 2);
  const bench = new Bench();
  bench.load([S.int(3)], 0x40);
  bench.load([S.jumpRelative(-0x48)], 0x80);
  bench.load([S.int(4)], 0x40);
  bench.start(RAM_BASE + 0x80);
  assertEquals(bench.read32(Reg.DSPS), 4);
});

Deno.test("CALL keeps the return address in TEMP, and RETURN takes it", () => {
  const bench = new Bench();
  bench.load([S.ret()], 0x100);
  assertEquals(vector(bench, S.call(RAM_BASE + 0x100), S.int(7)), 7);
  assertEquals(bench.read32(Reg.TEMP), RAM_BASE + 8);
  bench.load([S.ret()], 0x28);
  assertEquals(vector(bench, S.callRelative(0x20), S.int(8)), 8);
});

Deno.test("INT stops with its vector in DSPS and DSP after it", () => {
  const bench = new Bench();
  assertEquals(vector(bench, S.nop(), S.int(0xcafe0001), S.int(2)), 0xcafe0001);
  assertEquals(bench.read32(Reg.DSP), RAM_BASE + 16);
});

Deno.test("INTFLY sets INTF and goes on", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, 0);
  bench.run([S.intfly(), S.int(5)]);
  assertEquals(bench.read8(Reg.ISTAT0) & Istat0.INTF, Istat0.INTF);
  assertEquals(bench.read32(Reg.DSPS), 5);
  assertEquals(bench.pin, true, "INTF cannot be masked");
});

Deno.test("a data comparison holds when the bits outside the mask are equal", () => {
  const program = (condition: number) => [S.int(1, condition), S.int(0)];
  assertEquals(vector(withSfbr(0x42), ...program(S.ifData(0x42))), 1);
  assertEquals(vector(withSfbr(0x43), ...program(S.ifData(0x42))), 0);
  assertEquals(vector(withSfbr(0xc7), ...program(S.ifData(0x80, 0x7f))), 1);
  assertEquals(vector(withSfbr(0x43), ...program(S.ifData(0x42, 0, false))), 1);
  assertEquals(vector(withSfbr(0x42), ...program(S.ifData(0x42, 0, false))), 0);
});

Deno.test("the carry is a condition", () => {
  assertEquals(vector(new Bench(), S.set(S.CARRY), S.int(1, S.ifCarry()), S.int(0)), 1);
  assertEquals(vector(new Bench(), S.clear(S.CARRY), S.int(1, S.ifCarry()), S.int(0)), 0);
  assertEquals(vector(new Bench(), S.clear(S.CARRY), S.int(1, S.ifCarry(false)), S.int(0)), 1);
});

Deno.test("without a comparison, if-true always branches and if-false never does", () => {
  assertEquals(vector(new Bench(), S.int(1, 0), S.int(0)), 0);
  assertEquals(vector(new Bench(), S.int(1, S.always), S.int(0)), 1);
});

Deno.test("WHEN waits for a phase, IF looks at the one latched last", () => {
  const bench = new Bench();
  bench.targets.set(0, new FakeTarget());
  assertEquals(
    vector(bench, S.select(0), S.int(1, S.ifPhase(S.MESSAGE_OUT)), S.int(2, S.whenPhase(S.MESSAGE_OUT)), S.int(0)),
    2,
    "selection has not latched a phase yet when IF looks",
  );
});

Deno.test("with phase and data compared, if-true needs both and if-false needs neither", () => {
  const outcome = (condition: number) => {
    const bench = withSfbr(0x55);
    bench.targets.set(0, new FakeTarget());
    return vector(bench, S.select(0), S.int(1, condition), S.int(0));
  };
  assertEquals(outcome(S.whenPhase(S.MESSAGE_OUT) | S.ifData(0x55)), 1);
  assertEquals(outcome(S.whenPhase(S.MESSAGE_OUT) | S.ifData(0x56)), 0);
  assertEquals(outcome(S.whenPhase(S.COMMAND, false) | S.ifData(0x56, 0, false)), 1);
  assertEquals(outcome(S.whenPhase(S.COMMAND, false) | S.ifData(0x55, 0, false)), 0);
});

Deno.test("WHEN waits until the target answers", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  bench.ram.set([0x80], 0x1000);
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x2000),
    S.int(1, S.whenPhase(S.STATUS)),
    S.int(2),
  ]);
  assertEquals(bench.read8(Reg.ISTAT0) & Istat0.DIP, 0, "it waits");
  target.last.end();
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals(bench.read32(Reg.DSPS), 1);
});

Deno.test("opcodes 4 to 7 of the group are illegal", () => {
  const bench = new Bench();
  bench.run([[0xa0080000, 0]]);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
});

Deno.test("a jump relative to SCRIPTS in guest RAM works as in SCRIPTS RAM", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([]));
  bench.poke(0x8000, ...S.jumpRelative(8), ...S.int(1), ...S.int(2));
  bench.start(0x8000);
  assertEquals(bench.read32(Reg.DSPS), 2);
});
