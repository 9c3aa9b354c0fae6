import { assertEquals } from "@std/assert";
import { Dmode, Dstat, Istat1, Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, HIGH_RAM, IO_BASE, RAM_BASE, RAM_SIZE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

const STOPPED = Dstat.DFE | Dstat.SIR;

/** Runs a program that ends with an INT; checks that it got there. */
function runToEnd(bench: Bench, ...program: number[][]): void {
  bench.run([...program, S.int(0)]);
  while (bench.clock.next !== undefined) bench.clock.advance(bench.clock.next - bench.clock.now());
  assertEquals(bench.read8(Reg.DSTAT), STOPPED);
}

Deno.test("a memory move copies guest RAM, with or without flushing", () => {
  for (const noFlush of [false, true]) {
    const bench = new Bench();
    bench.ram.set([1, 2, 3, 4, 5], 0x1001);
    runToEnd(bench, S.moveMemory(5, 0x1001, 0x2002, { noFlush }));
    assertEquals([...bench.ram.subarray(0x2001, 0x2008)], [0, 1, 2, 3, 4, 5, 0]);
  }
});

Deno.test("LOAD with SIOM reads I/O space, STORE with DIOM writes it, and neither touches memory of that address", () => {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, 0x12345678);
  bench.poke(IO_BASE + Reg.SCRATCHA, 0xffffffff);
  bench.write8(Reg.DMODE, Dmode.SIOM | Dmode.DIOM);
  runToEnd(bench, S.load(Reg.SCRATCHB, 4, IO_BASE + Reg.SCRATCHA), S.store(Reg.SCRATCHB, 4, IO_BASE + Reg.TEMP));
  assertEquals([bench.read32(Reg.SCRATCHB), bench.read32(Reg.TEMP)], [0x12345678, 0x12345678]);
  assertEquals([bench.peek(IO_BASE + Reg.SCRATCHA), bench.peek(IO_BASE + Reg.TEMP)], [0xffffffff, 0]);
});

Deno.test("a memory move leaves TEMP and DSA alone", () => {
  const bench = new Bench();
  bench.write32(Reg.TEMP, 0x11112222);
  bench.write32(Reg.DSA, 0x33334444);
  runToEnd(bench, S.moveMemory(4, 0x1000, 0x2000));
  assertEquals([bench.read32(Reg.TEMP), bench.read32(Reg.DSA)], [0x11112222, 0x33334444]);
});

Deno.test("a memory move reads and writes operating registers by their PCI address", () => {
  const bench = new Bench();
  bench.poke(0x1000, 0xdeadbeef);
  runToEnd(
    bench,
    S.moveMemory(4, 0x1000, REGISTERS_BASE + Reg.SCRATCHA),
    S.moveMemory(4, REGISTERS_BASE + Reg.SCRATCHA, 0x2000),
  );
  assertEquals(bench.read32(Reg.SCRATCHA), 0xdeadbeef);
  assertEquals(bench.peek(0x2000), 0xdeadbeef);
});

Deno.test("a memory move fills SCRIPTS RAM from guest RAM and back, without bus mastering for the inner part", () => {
  const bench = new Bench();
  bench.poke(0x1000, 0x01020304, 0x05060708);
  runToEnd(bench, S.moveMemory(8, 0x1000, RAM_BASE + 0x800), S.moveMemory(8, RAM_BASE + 0x800, 0x2000));
  assertEquals([bench.peek(0x2000), bench.peek(0x2004)], [0x01020304, 0x05060708]);
});

Deno.test("a memory move into I/O space reaches the chip's own I/O BAR and nothing else", () => {
  const bench = new Bench();
  bench.poke(0x1000, 0x55667788);
  bench.write8(Reg.DMODE, Dmode.DIOM);
  runToEnd(bench, S.moveMemory(4, 0x1000, IO_BASE + Reg.SCRATCHA));
  assertEquals(bench.read32(Reg.SCRATCHA), 0x55667788);
  bench.write8(Reg.DMODE, Dmode.SIOM);
  bench.run([S.moveMemory(4, 0x3f8, 0x2000), S.int(0)]);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
});

Deno.test("long memory moves are whole, and the link is served in between", () => {
  const bench = new Bench();
  const count = 0x180000;
  for (let i = 0; i < count; i += 4096) bench.ram[0x1000 + i] = i >> 12;
  const copy = S.moveMemory(count, 0x1000, 0x200000);
  bench.run([copy, copy, S.int(0)]);
  assertEquals(bench.read8(Reg.ISTAT1), Istat1.SRUN, "it has not finished at once");
  bench.clock.advance(10_000_000);
  assertEquals(bench.read8(Reg.DSTAT), STOPPED);
  assertEquals(bench.ram.subarray(0x200000, 0x200000 + count), bench.ram.subarray(0x1000, 0x1000 + count));
});

Deno.test("a memory move onto itself one byte further repeats what it has written, piece by piece", () => {
  const bench = new Bench();
  bench.ram.set([1, 2, 3, 4], 0x1000);
  runToEnd(bench, S.moveMemory(4, 0x1000, 0x1001));
  assertEquals([...bench.ram.subarray(0x1000, 0x1006)], [1, 1, 2, 3, 4, 0], "a piece is read before it is written");
});

Deno.test("a memory move from or to nowhere is a bus fault", () => {
  for (const [source, destination] of [[RAM_SIZE, 0], [0, RAM_SIZE - 2]]) {
    const bench = new Bench();
    bench.run([S.moveMemory(4, source, destination), S.int(0)]);
    assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
    assertEquals(bench.read8(Reg.ISTAT1), 0, "SCRIPTS have stopped");
  }
});

Deno.test("reserved bits make a memory move illegal", () => {
  const bench = new Bench();
  bench.run([[0xcfffffff, 0, 0]]);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
});

Deno.test("MMRS and MMWS give the upper address halves of a memory move", () => {
  const bench = new Bench();
  bench.highRam.set([9, 8, 7, 6], 0x100);
  bench.write32(Reg.MMRS, HIGH_RAM / 2 ** 32);
  runToEnd(bench, S.moveMemory(4, 0x100, 0x2000));
  assertEquals([...bench.ram.subarray(0x2000, 0x2004)], [9, 8, 7, 6]);
  bench.write32(Reg.MMRS, 0);
  bench.write32(Reg.MMWS, HIGH_RAM / 2 ** 32);
  runToEnd(bench, S.moveMemory(2, 0x2000, 0x200));
  assertEquals([...bench.highRam.subarray(0x200, 0x203)], [9, 8, 0]);
});

Deno.test("LOAD and STORE move one to four bytes, absolute or relative to DSA", () => {
  const bench = new Bench();
  bench.poke(0x1000, 0x44332211);
  bench.write32(Reg.DSA, 0x1010);
  runToEnd(
    bench,
    S.load(Reg.SCRATCHA, 4, 0x1000),
    S.load(Reg.SCRATCHB + 1, 2, -0x0f, { relative: true }),
    S.store(Reg.SCRATCHA, 3, 0x10, { relative: true, noFlush: true }),
    S.store(Reg.SCRATCHA + 3, 1, 0x2003),
  );
  assertEquals(bench.read32(Reg.SCRATCHA), 0x44332211);
  assertEquals(bench.read32(Reg.SCRATCHB), 0x00332200);
  assertEquals(bench.peek(0x1020), 0x00332211);
  assertEquals(bench.peek(0x2000), 0x44000000);
});

Deno.test("LOAD and STORE reach SCRIPTS RAM", () => {
  const bench = new Bench();
  bench.device.writeBar(2, 0x1000, 4, 0x12345678);
  runToEnd(bench, S.load(Reg.DSA, 4, RAM_BASE + 0x1000), S.store(Reg.DSA, 4, RAM_BASE + 0x1004));
  assertEquals(bench.device.readBar(2, 0x1004, 4), 0x12345678);
});

Deno.test("LOAD and STORE that do not keep their place in a dword are illegal", () => {
  const illegal = [
    S.load(Reg.SCRATCHA, 1, 0x1001),
    S.load(Reg.SCRATCHA + 1, 4, 0x1001),
    S.store(Reg.SCRATCHA + 3, 2, 0x1003),
    S.store(Reg.SCRATCHA, 0, 0x1000),
    S.store(Reg.SCRATCHA, 5, 0x1000),
  ];
  for (const instruction of illegal) {
    const bench = new Bench();
    bench.run([instruction, S.int(0)]);
    assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
  }
});

Deno.test("DRS, MMRS and MMWS give the upper halves of load and store addresses", () => {
  const bench = new Bench();
  const high = HIGH_RAM / 2 ** 32;
  bench.highRam.set([0xaa, 0xbb, 0xcc, 0xdd], 0x40);
  bench.write32(Reg.DSA, 0x40);
  bench.write32(Reg.DRS, high);
  bench.write32(Reg.MMWS, high);
  runToEnd(bench, S.load(Reg.SCRATCHA, 4, 0, { relative: true }), S.store(Reg.SCRATCHA, 4, 0x80));
  assertEquals([...bench.highRam.subarray(0x80, 0x84)], [0xaa, 0xbb, 0xcc, 0xdd]);
});

Deno.test("CCNTL1.DDAC keeps addresses below 4 GiB", () => {
  const bench = new Bench();
  bench.poke(0x40, 0x01020304);
  bench.write8(Reg.CCNTL1, 0x08);
  bench.write32(Reg.MMRS, 1);
  runToEnd(bench, S.load(Reg.SCRATCHA, 4, 0x40));
  assertEquals(bench.read32(Reg.SCRATCHA), 0x01020304);
});
