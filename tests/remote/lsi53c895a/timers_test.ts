import { assertEquals } from "@std/assert";
import { Istat1, Reg, Sist1, Stime1 } from "../../../src/remote/lsi53c895a/registers.ts";
import { timerPeriod } from "../../../src/remote/lsi53c895a/timers.ts";
import { Bench, FakeTarget } from "./harness.ts";
import * as S from "./scripts_words.ts";

const GEN = Sist1.GEN << 8;
const HTH = Sist1.HTH << 8;
const STO = Sist1.STO << 8;

Deno.test("periods double from 125 µs to 2.048 s, sixteen times as long when scaled", () => {
  assertEquals(timerPeriod(1, false), 125_000);
  assertEquals(timerPeriod(4, false), 1_000_000);
  assertEquals(timerPeriod(15, false), 2_048_000_000);
  assertEquals(timerPeriod(1, true), 2_000_000);
  assertEquals(timerPeriod(15, true), 32_768_000_000);
});

Deno.test("the general purpose timer expires once, after its period", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, 3);
  bench.clock.advance(499_999);
  assertEquals(bench.read16(Reg.SIST0), 0);
  bench.clock.advance(1);
  assertEquals(bench.read16(Reg.SIST0), GEN);
  bench.clock.advance(10_000_000);
  assertEquals(bench.read16(Reg.SIST0), 0);
});

Deno.test("GENSF makes it sixteen times as long", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, Stime1.GENSF | 1);
  bench.clock.advance(1_999_999);
  assertEquals(bench.read16(Reg.SIST0), 0);
  bench.clock.advance(1);
  assertEquals(bench.read16(Reg.SIST0), GEN);
});

Deno.test("zero stops the timer, the same value does not restart it, and zero and a value do", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, 4);
  bench.write8(Reg.STIME1, 0);
  bench.clock.advance(1_000_000);
  assertEquals(bench.read16(Reg.SIST0), 0);
  bench.write8(Reg.STIME1, 4);
  bench.clock.advance(600_000);
  bench.write8(Reg.STIME1, 4);
  bench.clock.advance(400_000);
  assertEquals(bench.read16(Reg.SIST0), GEN);
  bench.write8(Reg.STIME1, 0);
  bench.write8(Reg.STIME1, 4);
  bench.clock.advance(1_000_000);
  assertEquals(bench.read16(Reg.SIST0), GEN);
});

Deno.test("a driver that measures the chip's clock with the timer finds a clock it knows", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, 8);
  let quarters = 0;
  while ((bench.read16(Reg.SIST0) & GEN) === 0 && quarters < 100_000) {
    quarters++;
    bench.clock.advance(250_000);
  }
  assertEquals(quarters, 64, "16 ms");
});

Deno.test("an absent target is a selection time-out as soon as SCRIPTS need it", () => {
  const bench = new Bench();
  bench.run([S.select(4), S.load(Reg.SCRATCHA, 4, 0x1000), S.int(1, S.whenPhase(S.MESSAGE_OUT, false)), S.int(2)]);
  assertEquals(bench.read16(Reg.SIST0), STO);
  assertEquals(bench.read32(Reg.DSP) & 0xff, 24, "DSP is past the instruction that waited");
  assertEquals(bench.read8(Reg.ISTAT0), 0, "neither connected nor pending");
});

Deno.test("SCRIPTS that do not look at the bus get the selection time-out when its time has passed", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME0, 0x04);
  bench.run([S.select(4), S.jumpRelative(-8)]);
  bench.clock.advance(999_999);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, Istat1.SRUN);
  bench.clock.advance(1);
  assertEquals(bench.read16(Reg.SIST0), STO);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, 0);
});

Deno.test("after a time-out the next selection works", () => {
  const bench = new Bench();
  bench.targets.set(1, new FakeTarget());
  bench.run([S.select(4), S.waitDisconnect()]);
  assertEquals(bench.read16(Reg.SIST0), STO);
  bench.run([S.select(1), S.int(1, S.whenPhase(S.MESSAGE_OUT)), S.int(2)]);
  assertEquals(bench.read32(Reg.DSPS), 1);
  bench.clock.advance(1_000_000_000);
  assertEquals(bench.read16(Reg.SIST0), 0, "the first selection's timer is off");
});

Deno.test("the handshake timer expires while a connected target says nothing, and not once it has answered", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  bench.ram[0x1000] = 0x80;
  bench.write8(Reg.STIME0, 0x40);
  const program = [
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x2000),
    S.int(1, S.whenPhase(S.STATUS)),
  ];
  bench.run(program);
  target.last.end();
  bench.clock.advance(2_000_000);
  assertEquals(bench.read16(Reg.SIST0), 0);
  bench.write8(Reg.ISTAT0, 0x40);
  bench.write8(Reg.STIME0, 0x40);
  bench.run(program);
  bench.clock.advance(1_000_000);
  assertEquals(bench.read16(Reg.SIST0), HTH);
});
