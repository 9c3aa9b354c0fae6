/** Programs in the shape that real drivers and firmware have them, from one end to the other. */
import { assertEquals } from "@std/assert";
import { Ccntl0, Dcntl, Dstat, Istat0, Reg, Scid, Sist0, Sist1 } from "../../../src/remote/lsi53c895a/registers.ts";
import { ScsiStatus } from "../../../src/remote/scsi/scsi.ts";
import { Bench, dataInTarget, dataOutTarget, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/**
 * What SeaBIOS does for a command: SCRIPTS in guest RAM, selection without ATN/, a 16-byte move for any CDB, one move
 * for the data (no dword count at all when there are none), no acknowledge, no wait for the bus to be free.
 */
function firmwareCommand(
  bench: Bench,
  data: number[],
): { dstat: number; sist: number; status: number; message: number } {
  bench.ram.set([0x80, 0x08], 0x1000);
  bench.ram.set([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], 0x1010);
  bench.ram.fill(0xff, 0x3000, 0x3010);
  const status = 0x3000;
  const message = 0x3001;
  bench.poke(
    0x8000,
    ...[0x40000000, 0],
    ...[0x06000001, 0x1000],
    ...[0x02000010, 0x1010],
    ...[0x87820000, 0x18],
    ...[0x07000002, 0x3008],
    ...[0x50000000, 0],
    ...[0x07000002, 0x3008],
    ...data,
    ...[0x03000001, status],
    ...[0x07000001, message],
    ...[0x98080000, 0],
  );
  for (let byte = 0; byte < 4; byte++) bench.device.writeBar(0, Reg.DSP + byte, 1, (0x8000 >> (8 * byte)) & 0xff);
  const dstat = bench.device.readBar(0, Reg.DSTAT, 1);
  const sist = bench.device.readBar(0, Reg.SIST0, 1) | (bench.device.readBar(0, Reg.SIST1, 1) << 8);
  return { dstat, sist, status: bench.ram[status], message: bench.ram[message] };
}

Deno.test("SeaBIOS reads, writes, and sends commands without data, one after the other", () => {
  const bench = new Bench();
  bench.device.writeBar(0, Reg.ISTAT0, 1, Istat0.SRST);
  const good = { dstat: Dstat.DFE | Dstat.SIR, sist: 0, status: 0, message: 0 };
  const sector = Array.from({ length: 512 }, (_, i) => (i * 7) & 0xff);
  bench.targets.set(0, dataInTarget(sector));
  assertEquals(firmwareCommand(bench, [0x01000000 | 512, 0x4000]), good);
  assertEquals([...bench.ram.subarray(0x4000, 0x4200)], sector);
  const writes = dataOutTarget(512);
  bench.targets.set(0, writes);
  assertEquals(firmwareCommand(bench, [512, 0x4000]), good);
  assertEquals(writes.last.received, sector);
  bench.targets.set(0, dataInTarget([]));
  assertEquals(firmwareCommand(bench, [0, 0]), good);
});

Deno.test("SeaBIOS sees a status that is not GOOD, and goes on to REQUEST SENSE", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([], ScsiStatus.CHECK_CONDITION));
  assertEquals(firmwareCommand(bench, [0, 0]).status, ScsiStatus.CHECK_CONDITION);
  bench.targets.set(0, dataInTarget([0x70, 0, 6]));
  assertEquals(firmwareCommand(bench, [0x01000003, 0x4000]).status, ScsiStatus.GOOD);
});

Deno.test("SeaBIOS goes on after a read that ended in an error instead of data", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([], ScsiStatus.CHECK_CONDITION));
  assertEquals(firmwareCommand(bench, [0x01000200, 0x4000]).sist, Sist0.MA);
  bench.targets.set(0, dataInTarget([0x70, 0, 5]));
  assertEquals(firmwareCommand(bench, [0x01000003, 0x4000]).status, ScsiStatus.GOOD);
});

Deno.test("SeaBIOS, which sets no selection time-out, finds an absent target absent at once", () => {
  const { sist, dstat } = firmwareCommand(new Bench(), [0, 0]);
  assertEquals(sist, Sist1.STO << 8);
  assertEquals(dstat & Dstat.SIR, 0);
});

/** Where the driver below keeps its command block, by offset from DSA. */
const BLOCK = 0x4000;
const At = { SELECT: 0x00, MESSAGES: 0x04, CDB: 0x0c, DATA: 0x14, LEFT: 0x1c, RESUME: 0x24, STATUS: 0x28 } as const;
/** Guest RAM: message bytes in and out, CDB, the word that the driver's DSA is kept in, the data. */
const MESSAGE_IN = 0x5000;
const BUFFER = 0x10000;

/**
 * A driver's SCRIPTS as Linux's sym53c8xx and its relatives lay them out: select by table, dispatch by phase, a phase
 * mismatch handler that saves count and address for a second move, disconnection, and a reselection that comes back to
 * the command.
 *
 * @returns The addresses of the entry point and of the mismatch handler.
 */
function loadDriver(bench: Bench): { start: number; mismatch: number } {
  const [dispatch, dataIn, rest, status, messageIn, complete, disconnect, resel, mismatch] = [
    ...[0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x480, 0x500],
  ].map((offset) => RAM_BASE + offset);
  const at = (address: number, program: number[][]) => bench.load(program, address - RAM_BASE);
  at(dispatch, [
    S.jump(messageIn, S.whenPhase(S.MESSAGE_IN)),
    S.jump(dataIn, S.ifPhase(S.DATA_IN)),
    S.jump(status, S.ifPhase(S.STATUS)),
    S.int(0xbad1),
  ]);
  at(dataIn, [S.load(Reg.TEMP, 4, At.RESUME, { relative: true }), S.ret()]);
  at(rest, [S.chainedTable(S.DATA_IN, At.LEFT), S.jump(dispatch)]);
  at(status, [S.move(S.STATUS, 1, BLOCK + At.STATUS), S.jump(dispatch)]);
  at(messageIn, [
    S.move(S.MESSAGE_IN, 1, MESSAGE_IN),
    S.jump(complete, S.ifData(0x00)),
    S.jump(disconnect, S.ifData(0x04)),
    S.clear(S.ACK),
    S.jump(dispatch, S.ifData(0x02)),
    S.int(0xbad2),
  ]);
  const letGo = [S.modify(Reg.SCNTL2, S.Alu.AND, 0x7f), S.clear(S.ACK | S.ATN), S.waitDisconnect()];
  at(complete, [...letGo, S.intfly(), S.waitReselect(0)]);
  at(disconnect, [...letGo, S.jump(resel)]);
  at(resel, [
    S.waitReselect(RAM_BASE + 0x600),
    S.move(S.MESSAGE_IN, 1, MESSAGE_IN),
    S.clear(S.ACK),
    S.move(S.MESSAGE_IN, 2, MESSAGE_IN + 1),
    S.int(0xbad3, S.ifData(0x20, 0, false)),
    S.clear(S.ACK),
    S.jump(dispatch),
  ]);
  at(mismatch, [
    S.store(Reg.RBC, 4, At.LEFT, { relative: true }),
    S.store(Reg.UA, 4, At.LEFT + 4, { relative: true }),
    S.moveMemory(4, MESSAGE_IN + 0x10, BLOCK + At.RESUME),
    S.jump(dispatch),
  ]);
  bench.poke(MESSAGE_IN + 0x10, rest);
  const start = bench.load([
    S.selectTable(At.SELECT, resel),
    S.int(0xbad0, S.whenPhase(S.MESSAGE_OUT, false)),
    S.moveTable(S.MESSAGE_OUT, At.MESSAGES),
    S.moveTable(S.COMMAND, At.CDB),
    S.jump(dispatch),
  ]);
  at(RAM_BASE + 0x700, [S.chainedTable(S.DATA_IN, At.DATA), S.jump(dispatch)]);
  bench.poke(BLOCK + At.RESUME, RAM_BASE + 0x700);
  return { start, mismatch };
}

Deno.test("a driver's SCRIPTS gather data over disconnections in the middle of a move, without the CPU", () => {
  const target = new FakeTarget();
  const bench = new Bench();
  bench.targets.set(1, target);
  const { start, mismatch } = loadDriver(bench);
  bench.write8(Reg.DCNTL, Dcntl.COM);
  bench.write8(Reg.SCID, Scid.RRE | 7);
  bench.write8(Reg.CCNTL0, Ccntl0.ENPMJ);
  bench.write32(Reg.PMJAD1, mismatch);
  bench.poke(BLOCK + At.SELECT, 0x00010000);
  bench.poke(BLOCK + At.MESSAGES, 3, 0x5100, 10, 0x5110, 10_000, BUFFER);
  bench.ram.set([0xc0, 0x20, 0x55], 0x5100);
  bench.ram.set([0x28, 0, 0, 0, 0, 0, 0, 0, 20, 0], 0x5110);
  bench.write32(Reg.DSA, BLOCK);
  bench.start(start);
  const data = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 31) >> 3);
  for (let sent = 0; sent < data.length; sent += 1_111) target.last.offer(data.subarray(sent, sent + 1_111));
  target.last.end();
  assertEquals(bench.read8(Reg.ISTAT0) & (Istat0.INTF | Istat0.SIP | Istat0.DIP), Istat0.INTF);
  assertEquals(bench.ram.subarray(BUFFER, BUFFER + data.length), data);
  assertEquals(bench.ram[BLOCK + At.STATUS], ScsiStatus.GOOD);
  assertEquals(target.last.resumed, Math.ceil(data.length / 1_111));
});

Deno.test("a driver finds memory and chip to agree when SCRIPTS exchange a word between them", () => {
  const bench = new Bench();
  bench.poke(0x6000, 1);
  bench.write32(Reg.TEMP, 2);
  bench.write32(Reg.DSA, 0x6000);
  bench.poke(
    0x8000,
    ...S.load(Reg.SCRATCHA, 4, 0, { relative: true }),
    ...S.store(Reg.TEMP, 4, 0, { relative: true }),
    ...S.load(Reg.TEMP, 4, 0, { relative: true }),
    ...S.int(99),
  );
  bench.start(0x8000);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals(bench.read32(Reg.DSP), 0x8020);
  assertEquals([bench.peek(0x6000), bench.read32(Reg.SCRATCHA), bench.read32(Reg.TEMP)], [2, 1, 2]);
});

Deno.test("a driver of the older kind loads DSA and starts itself by memory moves to registers", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([]));
  bench.poke(0x6000, 0x4000, RAM_BASE + 0x100);
  bench.load([S.int(0x77)], 0x100);
  bench.run([
    S.moveMemory(4, 0x6000, REGISTERS_BASE + Reg.DSA),
    S.moveMemory(4, 0x6004, REGISTERS_BASE + Reg.TEMP),
    S.ret(),
  ]);
  assertEquals(bench.read32(Reg.DSA), 0x4000);
  assertEquals(bench.read32(Reg.DSPS), 0x77);
});
