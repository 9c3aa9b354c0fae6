import { assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { Dcntl, Dmode, Dstat, Istat0, Istat1, Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, dataInTarget, FakeTarget, HIGH_RAM, RAM_BASE, RAM_SIZE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** No slice may execute more instructions than this. */
const SLICE = 10_000;
const SECOND = 1_000_000_000;

const running = (bench: Bench) => (bench.read8(Reg.ISTAT1) & Istat1.SRUN) !== 0;

Deno.test("writing the last byte of DSP starts SCRIPTS, whatever the width", () => {
  const bench = new Bench();
  bench.poke(0x8000, ...S.int(7));
  for (const byte of [0, 1, 2]) bench.write8(Reg.DSP + byte, 0x8000 >> (8 * byte));
  assertEquals(bench.device.instructionsExecuted, 0);
  bench.write8(Reg.DSP + 3, 0);
  assertEquals(bench.read32(Reg.DSPS), 7);
});

Deno.test("in manual start mode SCRIPTS start with DCNTL.STD", () => {
  const bench = new Bench();
  bench.write8(Reg.DMODE, Dmode.MAN);
  bench.run([S.int(7)]);
  assertEquals(bench.device.instructionsExecuted, 0);
  bench.write8(Reg.DCNTL, Dcntl.STD);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals(bench.read8(Reg.DCNTL), 0, "STD clears itself");
});

Deno.test("SFS gives the upper half of instruction addresses", () => {
  const bench = new Bench();
  new DataView(bench.highRam.buffer).setUint32(0x100, S.int(3)[0], true);
  new DataView(bench.highRam.buffer).setUint32(0x104, 3, true);
  bench.write32(Reg.SFS, HIGH_RAM / 2 ** 32);
  bench.start(0x100);
  assertEquals(bench.read32(Reg.DSPS), 3);
});

Deno.test("fetching where nothing answers is a bus fault", () => {
  const bench = new Bench();
  for (const address of [RAM_SIZE, RAM_SIZE - 4, 0xfffffffc]) {
    bench.start(address);
    assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
    assertEquals(running(bench), false);
  }
});

Deno.test("SCRIPTS RAM is not at its PCI address while memory decoding is off", () => {
  const bench = new Bench();
  bench.load([S.int(1)]);
  bench.configWrite(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MASTER);
  bench.start(RAM_BASE);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
});

Deno.test("SCRIPTS follow their RAM when the guest moves the BAR", () => {
  const bench = new Bench();
  bench.load([S.int(1)]);
  bench.configWrite(PciConfig.BAR0 + 8, 4, 0xe0000000);
  bench.start(0xe0000000);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("SCRIPTS that jump to themselves are bounded, and cost next to nothing in the long run", () => {
  const bench = new Bench();
  bench.run([S.jumpRelative(-8)]);
  assertEquals(bench.device.instructionsExecuted <= SLICE, true);
  assertEquals(running(bench), true);
  bench.clock.advance(SECOND);
  const before = bench.device.instructionsExecuted;
  bench.clock.advance(SECOND);
  assertEquals(bench.device.instructionsExecuted - before <= 128 * 1000, true);
  assertEquals(bench.device.instructionsExecuted > before, true, "it goes on, a little");
});

Deno.test("endless memory moves are bounded in bytes as jumps are in number", () => {
  const bench = new Bench();
  let bytes = 0;
  const write = bench.memory.write.bind(bench.memory);
  bench.memory.write = (address, from) => {
    bytes += from.length;
    return write(address, from);
  };
  bench.run([S.moveMemory(0x100000, 0, 0x200000), S.jumpRelative(-20)]);
  bench.clock.advance(SECOND);
  bytes = 0;
  bench.clock.advance(SECOND);
  assertEquals(bytes < 100 * 0x100000, true, `${bytes} bytes in a second`);
});

Deno.test("commands that take a disk long end the slice, however few instructions they are", () => {
  const bench = new Bench();
  const slow = new FakeTarget({
    start: (request) => {
      bench.clock.work(10_000_000);
      request.end();
    },
  });
  bench.targets.set(0, slow);
  bench.poke(0x1000, 0x80); // IDENTIFY, then a CDB of zeroes: TEST UNIT READY
  const program = [
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.STATUS, 1, 0x1020),
    S.move(S.MESSAGE_IN, 1, 0x1021),
    S.clear(S.ACK),
    S.waitDisconnect(),
    S.jumpRelative(-64),
  ];
  bench.run(program);
  assertEquals(slow.requests.length, 1);
  assertEquals(bench.clock.next, bench.clock.now(), "the program goes on when others have had their turn");
  bench.clock.advance(0);
  assertEquals(slow.requests.length, 2);
});

Deno.test("SCRIPTS that start themselves anew by writing DSP cost next to nothing, either", () => {
  const bench = new Bench();
  bench.poke(0x1000, RAM_BASE);
  bench.run([S.moveMemory(4, 0x1000, REGISTERS_BASE + Reg.DSP)]);
  bench.clock.advance(SECOND);
  const before = bench.device.instructionsExecuted;
  bench.clock.advance(SECOND);
  assertEquals(bench.device.instructionsExecuted - before <= 128 * 1000, true);
});

Deno.test("ABRT, SRST and a new DSP take effect between the slices of an endless program", () => {
  const stopWays = [
    (bench: Bench) => bench.write8(Reg.ISTAT0, Istat0.ABRT),
    (bench: Bench) => bench.write8(Reg.ISTAT0, Istat0.SRST),
    (bench: Bench) => bench.start(bench.load([S.int(1)], 0x100)),
  ];
  for (const stop of stopWays) {
    const bench = new Bench();
    bench.run([S.jumpRelative(-8)]);
    bench.clock.advance(SECOND);
    stop(bench);
    assertEquals(running(bench), false);
    assertEquals(bench.clock.next, undefined, "no timer is left");
  }
});

Deno.test("SCRIPTS that poll memory see what the driver writes", () => {
  const bench = new Bench();
  bench.run([
    S.load(Reg.SCRATCHA, 4, 0x1000),
    S.registerToSfbr(Reg.SCRATCHA, S.Alu.OR, 0),
    S.jumpRelative(-24, S.ifData(0)),
    S.int(1),
  ]);
  bench.clock.advance(SECOND);
  assertEquals(running(bench), true);
  bench.poke(0x1000, 1);
  bench.clock.advance(1_000_000);
  assertEquals(running(bench), false);
});

Deno.test("SCRIPTS that poll SIGP look again at once when it is set", () => {
  const bench = new Bench();
  bench.run([S.registerToSfbr(Reg.ISTAT0, S.Alu.AND, Istat0.SIGP), S.jumpRelative(-16, S.ifData(0)), S.int(1)]);
  bench.clock.advance(SECOND);
  bench.write8(Reg.ISTAT0, Istat0.SIGP);
  bench.clock.advance(0);
  assertEquals(running(bench), false);
});

Deno.test("a program that moves data does not slow down", () => {
  const target = new FakeTarget({ start: (request) => request.offer([1]), resume: (request) => request.offer([1]) });
  const bench = new Bench();
  bench.targets.set(0, target);
  bench.ram[0x1000] = 0x80;
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.DATA_IN, 1, 0x2000),
    S.jumpRelative(-16),
  ]);
  for (let slice = 0; slice < 20; slice++) {
    const before = bench.device.instructionsExecuted;
    assertEquals(bench.clock.next, bench.clock.now(), "the next slice is due at once");
    bench.clock.step();
    assertEquals(bench.device.instructionsExecuted - before > SLICE / 2, true);
  }
  bench.write8(Reg.ISTAT0, Istat0.SRST);
});

Deno.test("a logical unit that answers from within every call costs no stack", () => {
  const target = new FakeTarget({
    start: (request) => request.offer([0]),
    resume: (request) => request.resumed < 100_000 ? request.offer([0]) : request.end(),
  });
  const bench = new Bench();
  bench.targets.set(0, target);
  bench.ram[0x1000] = 0x80;
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.DATA_IN, 100_000, 0x2000),
    S.move(S.STATUS, 1, 0x1000),
    S.int(1),
  ]);
  while (running(bench)) bench.clock.advance(SECOND);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("SCRIPTS that write DSP go on there, without a second processor inside the first", () => {
  const bench = new Bench();
  const there = bench.load([S.int(5)], 0x200);
  bench.poke(0x1000, there);
  bench.run([S.load(Reg.DSP, 4, 0x1000), S.int(1)]);
  assertEquals(bench.read32(Reg.DSPS), 5);
  bench.run([S.moveMemory(4, 0x1000, REGISTERS_BASE + Reg.DSP), S.int(1)]);
  assertEquals(bench.read32(Reg.DSPS), 5);
});

Deno.test("a memory move through all own registers restarts, resets and ends", () => {
  const bench = new Bench();
  bench.ram.fill(0xff, 0x1000, 0x2000);
  bench.run([S.moveMemory(0x400, 0x1000, REGISTERS_BASE), S.int(1)]);
  bench.clock.advance(SECOND);
  assertEquals(bench.device.instructionsExecuted < 1_000_000, true);
});

Deno.test("data that reset the chip on their way in end the command", () => {
  const target = dataInTarget([Istat0.SRST, 0, 0, 0]);
  const bench = new Bench();
  bench.targets.set(0, target);
  bench.ram[0x1000] = 0x80;
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.DATA_IN, 4, REGISTERS_BASE + Reg.ISTAT0),
    S.int(1),
  ]);
  assertEquals(target.last.cancelled, true);
  assertEquals(target.last.resumed, 0);
  assertEquals([running(bench), bench.read8(Reg.DSTAT)], [false, Dstat.DFE]);
});

Deno.test("SCRIPTS that write over themselves execute what they have written", () => {
  const bench = new Bench();
  bench.poke(0x1000, ...S.int(0x99));
  bench.run([S.moveMemory(8, 0x1000, RAM_BASE + 12), S.int(1)]);
  assertEquals(bench.read32(Reg.DSPS), 0x99);
});

Deno.test("a table in the chip's own registers is read like any other", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([9]));
  bench.ram[0x1000] = 0x80;
  bench.write32(Reg.SCRATCHC, 1);
  bench.write32(Reg.SCRATCHC + 4, 0x2000);
  bench.write32(Reg.DSA, REGISTERS_BASE);
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.moveTable(S.DATA_IN, Reg.SCRATCHC),
    S.int(1),
  ]);
  assertEquals(bench.ram[0x2000], 9);
});

Deno.test("a new DSP while a move waits for its target gives the move up", () => {
  const target = new FakeTarget();
  const bench = new Bench();
  bench.targets.set(0, target);
  bench.ram[0x1000] = 0x80;
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.DATA_IN, 4, 0x2000),
  ]);
  bench.run([S.int(3)], 0x100);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  target.last.offer([1, 2, 3, 4]);
  assertEquals(bench.peek(0x2000), 0, "SCRIPTS are stopped");
  bench.run([S.move(S.DATA_IN, 4, 0x2000), S.int(4)], 0x100);
  assertEquals(bench.peek(0x2000), 0x04030201);
});

Deno.test("an idle device has no timer running", () => {
  const bench = new Bench();
  bench.run([S.waitReselect(RAM_BASE)]);
  assertEquals(running(bench), true);
  assertEquals(bench.clock.next, undefined);
});
