import { assertEquals } from "@std/assert";
import {
  Ccntl0,
  Ccntl1,
  ControlLine,
  Dmode,
  Dstat,
  Reg,
  Scntl2,
  Sist0,
} from "../../../src/remote/lsi53c895a/registers.ts";
import { ScsiStatus } from "../../../src/remote/scsi/scsi.ts";
import { Bench, dataInTarget, dataOutTarget, FakeTarget, HIGH_RAM, IO_BASE, RAM_BASE, RAM_SIZE } from "./harness.ts";
import * as S from "./scripts_words.ts";

const BYTES = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];

/** A bench with a target at id 0, IDENTIFY without disconnect privilege at 0x1000 and a CDB at 0x1010. */
function bench(target: FakeTarget): Bench {
  const bench = new Bench();
  bench.targets.set(0, target);
  bench.ram.set([0x80], 0x1000);
  bench.ram.set([0x12, 0, 0, 0, 8, 0], 0x1010);
  return bench;
}

/** Selection, IDENTIFY and the CDB. */
const COMMAND = [S.select(0), S.move(S.MESSAGE_OUT, 1, 0x1000), S.move(S.COMMAND, 6, 0x1010)];
/** Status to 0x3000, COMMAND COMPLETE to 0x3001, bus free. */
const ENDING = [
  S.move(S.STATUS, 1, 0x3000),
  S.move(S.MESSAGE_IN, 1, 0x3001),
  S.clear(S.ACK),
  S.waitDisconnect(),
  S.int(0),
];

Deno.test("a direct move takes count and address from the instruction", () => {
  const b = bench(dataInTarget(BYTES));
  b.ram[0x3000] = b.ram[0x3001] = 0xff;
  b.run([...COMMAND, S.move(S.DATA_IN, 8, 0x2000), ...ENDING]);
  assertEquals([...b.ram.subarray(0x2000, 0x2008)], BYTES);
  assertEquals([b.ram[0x3000], b.ram[0x3001]], [ScsiStatus.GOOD, 0x00]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("the command reaches the logical unit that IDENTIFY names", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram[0x1000] = 0x85;
  b.run([...COMMAND, ...ENDING]);
  assertEquals(target.last.lun, 5);
  assertEquals([...target.last.cdb], [0x12, 0, 0, 0, 8, 0]);
});

Deno.test("a data-out move takes bytes from memory", () => {
  const target = dataOutTarget(8);
  const b = bench(target);
  b.ram.set(BYTES, 0x2000);
  b.run([...COMMAND, S.move(S.DATA_OUT, 8, 0x2000), ...ENDING]);
  assertEquals(target.last.received, BYTES);
});

Deno.test("an indirect move takes the address from memory", () => {
  const b = bench(dataInTarget(BYTES));
  b.poke(0x1100, 0x2000);
  b.run([...COMMAND, S.moveIndirect(S.DATA_IN, 8, 0x1100), ...ENDING]);
  assertEquals([...b.ram.subarray(0x2000, 0x2008)], BYTES);
});

Deno.test("a table indirect move takes count and address from an entry relative to DSA", () => {
  for (const offset of [0x20, -0x20]) {
    const b = bench(dataInTarget(BYTES));
    b.write32(Reg.DSA, 0x4000);
    b.poke(0x4000 + offset, 8, 0x2000);
    b.run([...COMMAND, S.moveTable(S.DATA_IN, offset), ...ENDING]);
    assertEquals([...b.ram.subarray(0x2000, 0x2008)], BYTES);
    assertEquals(b.read32(Reg.DSPS), 0, "it went through to the end");
  }
});

Deno.test("several moves share a chunk, and several chunks a move", () => {
  const target = new FakeTarget({
    start: (request) => request.offer(BYTES.slice(0, 5)),
    resume: (request) => request.resumed === 1 ? request.offer(BYTES.slice(5)) : request.end(),
  });
  const b = bench(target);
  b.run([...COMMAND, S.move(S.DATA_IN, 3, 0x2000), S.move(S.DATA_IN, 5, 0x2100), ...ENDING]);
  assertEquals([...b.ram.subarray(0x2000, 0x2003)], BYTES.slice(0, 3));
  assertEquals([...b.ram.subarray(0x2100, 0x2105)], BYTES.slice(3));
});

Deno.test("a move waits for a logical unit that answers later", () => {
  const target = new FakeTarget({ resume: (request) => request.end() });
  const b = bench(target);
  b.run([...COMMAND, S.move(S.DATA_IN, 8, 0x2000), ...ENDING]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE);
  target.last.offer(BYTES);
  assertEquals([...b.ram.subarray(0x2000, 0x2008)], BYTES);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("data go beyond 4 GiB by table entries with 40 address bits", () => {
  const b = bench(dataInTarget(BYTES));
  b.write8(Reg.CCNTL1, Ccntl1.EN64TIBMV | Ccntl1.TIMOD64);
  b.write32(Reg.DSA, 0x4000);
  b.poke(0x4000, (1 << 24) | 8, 0x800);
  b.run([...COMMAND, S.moveTable(S.DATA_IN, 0), ...ENDING]);
  assertEquals([...b.highRam.subarray(0x800, 0x808)], BYTES);
});

Deno.test("data go beyond 4 GiB by the selector that a table entry names", () => {
  const selectors = [
    [0x00, Reg.SCRATCHC],
    [0x0f, Reg.SCRATCHC + 60],
    [0x10, Reg.MMRS],
    [0x11, Reg.MMWS],
    [0x14, Reg.SBMS],
    [0x15, Reg.DBMS],
  ];
  for (const [index, register] of selectors) {
    const b = bench(dataInTarget(BYTES));
    b.poke(0x4000, (index << 24) | 8, 0x800);
    b.write8(Reg.CCNTL1, Ccntl1.EN64TIBMV);
    b.write32(Reg.DSA, 0x4000);
    // The messages and the CDB come from below 4 GiB, so the selector is set between the moves.
    const setSelector = S.modify(register, S.Alu.MOVE, HIGH_RAM / 2 ** 32);
    b.run([...COMMAND, setSelector, S.moveTable(S.DATA_IN, 0), S.int(0)]);
    assertEquals([...b.highRam.subarray(0x800, 0x808)], BYTES, `selector ${index}`);
  }
});

Deno.test("a table entry with a selector that does not exist is illegal", () => {
  const b = bench(dataInTarget(BYTES));
  b.poke(0x4000, (0x16 << 24) | 8, 0x800);
  b.write8(Reg.CCNTL1, Ccntl1.EN64TIBMV);
  b.write32(Reg.DSA, 0x4000);
  b.run([...COMMAND, S.moveTable(S.DATA_IN, 0), S.int(0)]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
});

Deno.test("with 64-bit direct moves the third dword is the upper address half, kept in DBMS", () => {
  const b = bench(dataInTarget(BYTES));
  const low = COMMAND.map((instruction, i) => i === 0 ? instruction : [...instruction, 0]);
  b.write8(Reg.CCNTL1, Ccntl1.EN64DBMV);
  b.run([...low, [...S.move(S.DATA_IN, 8, 0x900), HIGH_RAM / 2 ** 32], S.int(3)]);
  assertEquals([...b.highRam.subarray(0x900, 0x908)], BYTES);
  assertEquals(b.read32(Reg.DBMS), 1);
  assertEquals(b.read32(Reg.DSPS), 3);
});

Deno.test("a move of no bytes is illegal, but a dword of zero is passed over", () => {
  const b = bench(dataInTarget([]));
  b.run([...COMMAND, [0, 0], ...ENDING]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  b.run([S.move(S.DATA_IN, 0, 0x2000)]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
});

Deno.test("MOVE clears chained mode and CHMOV sets it", () => {
  const b = bench(dataInTarget(BYTES));
  b.run([...COMMAND, S.chainedMove(S.DATA_IN, 4, 0x2000), S.int(1)]);
  assertEquals(b.read8(Reg.SCNTL2) & Scntl2.CHM, Scntl2.CHM);
  b.run([S.move(S.DATA_IN, 4, 0x2004), ...ENDING], 0x100);
  assertEquals(b.read8(Reg.SCNTL2) & Scntl2.CHM, 0);
  assertEquals([...b.ram.subarray(0x2000, 0x2008)], BYTES);
});

Deno.test("SFBR and SIDL show what came in", () => {
  const b = bench(dataInTarget(BYTES, ScsiStatus.CHECK_CONDITION));
  b.run([...COMMAND, S.move(S.DATA_IN, 8, 0x2000), S.int(1)]);
  assertEquals(b.read8(Reg.SFBR), BYTES[0]);
  b.run([S.move(S.STATUS, 1, 0x3000), S.int(2)], 0x100);
  assertEquals([b.read8(Reg.SFBR), b.read8(Reg.SIDL)], [2, 2]);
  b.run([S.move(S.MESSAGE_IN, 1, 0x3001), S.int(3)], 0x200);
  assertEquals([b.read8(Reg.SFBR), b.read8(Reg.SIDL)], [0, 0]);
  assertEquals(b.read8(Reg.SOCL) & ControlLine.ACK, ControlLine.ACK, "until a Clear instruction");
});

Deno.test("a phase mismatch interrupts with what is left in DBC, and DNAD after the last byte", () => {
  const b = bench(dataInTarget(BYTES));
  b.run([...COMMAND, S.move(S.DATA_IN, 20, 0x2000), S.int(1)]);
  assertEquals(b.read16(Reg.SIST0), Sist0.MA);
  assertEquals(b.read32(Reg.DBC), 0x0900000c);
  assertEquals(b.read32(Reg.DNAD), 0x2008);
  assertEquals(b.read32(Reg.DSP), RAM_BASE + 8 * 4);
  assertEquals(b.read8(Reg.SSTAT1) & 7, S.STATUS);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE, "no instruction after it was executed");
  b.run(ENDING, 0x100);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("with ENPMJ a mismatch jumps, and leaves RBC, UA, SBC, CSBC, IA and ESA for SCRIPTS", () => {
  const b = bench(dataInTarget(BYTES));
  b.write8(Reg.CCNTL0, Ccntl0.ENPMJ);
  b.write32(Reg.PMJAD1, b.load([S.int(0x111)], 0x400));
  b.write32(Reg.PMJAD2, b.load([S.int(0x222)], 0x500));
  b.write32(Reg.DSA, 0x4000);
  b.poke(0x4010, 0x7f000014, 0x2000);
  b.run([...COMMAND, S.moveTable(S.DATA_IN, 0x10), S.int(1)]);
  assertEquals(b.read32(Reg.DSPS), 0x111);
  assertEquals(b.read32(Reg.RBC), 0x7f00000c, "the entry's upper byte is kept");
  assertEquals(b.read32(Reg.UA), 0x2008);
  assertEquals(b.read32(Reg.SBC), 8);
  assertEquals(b.read32(Reg.CSBC), 8);
  assertEquals(b.read32(Reg.IA), RAM_BASE + 3 * 8);
  assertEquals(b.read32(Reg.ESA), 0x4010);
  assertEquals(b.read16(Reg.SIST0), 0);
});

Deno.test("a direct move's mismatch leaves its operation code in RBC and its address in ESA", () => {
  const b = bench(dataInTarget(BYTES));
  b.write8(Reg.CCNTL0, Ccntl0.ENPMJ);
  b.write32(Reg.PMJAD1, b.load([S.int(1)], 0x400));
  b.run([...COMMAND, S.chainedMove(S.DATA_IN, 9, 0x2000), S.int(0)]);
  assertEquals(b.read32(Reg.RBC), 0x01000001);
  assertEquals(b.read32(Reg.ESA), RAM_BASE + 3 * 8);
});

Deno.test("with PMJCTL the direction of the move chooses the jump address", () => {
  const outcome = (target: FakeTarget, phase: number) => {
    const b = bench(target);
    b.write8(Reg.CCNTL0, Ccntl0.ENPMJ | Ccntl0.PMJCTL);
    b.write32(Reg.PMJAD1, b.load([S.int(0x111)], 0x400));
    b.write32(Reg.PMJAD2, b.load([S.int(0x222)], 0x500));
    b.run([...COMMAND, S.move(phase, 20, 0x2000), S.int(1)]);
    return b.read32(Reg.DSPS);
  };
  assertEquals(outcome(dataOutTarget(8), S.DATA_OUT), 0x111);
  assertEquals(outcome(dataInTarget(BYTES), S.DATA_IN), 0x222);
});

Deno.test("mismatches outside data phases jump only with ENNDJ", () => {
  const outcome = (ccntl0: number) => {
    const b = bench(dataInTarget([]));
    b.write8(Reg.CCNTL0, ccntl0);
    b.write32(Reg.PMJAD1, b.load([S.int(0x111)], 0x400));
    b.run([...COMMAND, S.move(S.MESSAGE_IN, 1, 0x2000), S.int(1)]);
    return [b.read16(Reg.SIST0), b.read8(Reg.DSTAT)];
  };
  assertEquals(outcome(Ccntl0.ENPMJ), [Sist0.MA, Dstat.DFE]);
  assertEquals(outcome(Ccntl0.ENPMJ | Ccntl0.ENNDJ), [0, Dstat.DFE | Dstat.SIR]);
});

Deno.test("the count of data bytes leaves messages, commands and status out", () => {
  const b = bench(dataInTarget(BYTES));
  b.run([...COMMAND, S.move(S.DATA_IN, 8, 0x2000), ...ENDING]);
  assertEquals(b.read32(Reg.CSBC), 8);
});

Deno.test("a move from or to nowhere is a bus fault", () => {
  const b = bench(dataInTarget(BYTES));
  b.run([...COMMAND, S.move(S.DATA_IN, 8, RAM_SIZE - 4), S.int(1)]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
  const table = bench(dataInTarget(BYTES));
  table.write32(Reg.DSA, RAM_SIZE - 4);
  table.run([...COMMAND, S.moveTable(S.DATA_IN, 0), S.int(1)]);
  assertEquals(table.read8(Reg.DSTAT), Dstat.DFE | Dstat.BF);
});

Deno.test("a data phase can go to I/O space: to the chip's own registers", () => {
  const b = bench(dataInTarget(BYTES.slice(0, 4)));
  b.run([
    ...COMMAND,
    S.modify(Reg.DMODE, S.Alu.OR, Dmode.DIOM),
    S.move(S.DATA_IN, 4, IO_BASE + Reg.SCRATCHB),
    S.int(0),
  ]);
  assertEquals(b.read32(Reg.SCRATCHB), 0x13121110);
});

Deno.test("a CDB may come in pieces, and a move may be longer than the CDB", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 2, 0x1010),
    S.move(S.COMMAND, 4, 0x1012),
    ...ENDING,
  ]);
  assertEquals([...target.last.cdb], [0x12, 0, 0, 0, 8, 0]);
  b.run([S.select(0), S.move(S.MESSAGE_OUT, 1, 0x1000), S.move(S.COMMAND, 16, 0x1010), ...ENDING]);
  assertEquals([...target.last.cdb], [0x12, 0, 0, 0, 8, 0]);
  assertEquals(b.read32(Reg.DSPS), 0);
});

Deno.test("a CDB of a vendor's group is as long as the move", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram.set([0xc1, 1, 2, 3, 4, 5, 6, 7], 0x1010);
  b.run([S.select(0), S.move(S.MESSAGE_OUT, 1, 0x1000), S.move(S.COMMAND, 8, 0x1010), ...ENDING]);
  assertEquals([...target.last.cdb], [0xc1, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("a move in target mode, which nobody has selected, is illegal", () => {
  const b = bench(dataInTarget(BYTES));
  b.run([S.set(S.TARGET), S.move(S.DATA_IN, 8, 0x2000)]);
  assertEquals(b.read8(Reg.DSTAT), Dstat.DFE | Dstat.IID);
});
