import { assertEquals } from "@std/assert";
import {
  ControlLine,
  Dcntl,
  Dstat,
  Istat0,
  Reg,
  Scid,
  Scntl1,
  Scntl2,
  Sist0,
  Sist1,
  Sstat2,
} from "../../../src/remote/lsi53c895a/registers.ts";
import { MAX_PROCESSES } from "../../../src/remote/lsi53c895a/chip_state.ts";
import { PATIENCE_NS } from "../../../src/remote/lsi53c895a/patience.ts";
import { ScsiStatus } from "../../../src/remote/scsi/scsi.ts";
import { Bench, dataInTarget, FakeTarget, RAM_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** Where the tests keep things in guest RAM. */
const OUT = 0x1000;
const CDB = 0x1010;
const IN = 0x3000;
const DATA = 0x2000;

const IDENTIFY = 0x80;
const DISCONNECT = 0x40;
const SIMPLE = 0x20;

/** A bench with this target at id 2. */
function bench(target: FakeTarget): Bench {
  const bench = new Bench();
  bench.targets.set(2, target);
  return bench;
}

/**
 * Selects id 2 and sends messages and a CDB; then what follows. Ends with an INT of `vector`. An INT before is served. A
 * target that has nothing to say loses its patience.
 */
function issue(b: Bench, messages: number[], rest: number[][] = [], vector = 1): void {
  b.read8(Reg.DSTAT);
  b.ram.set(messages, OUT);
  b.run([
    S.select(2, RAM_BASE + 0x700),
    S.move(S.MESSAGE_OUT, messages.length, OUT),
    S.move(S.COMMAND, 6, CDB),
    ...rest,
    S.int(vector),
  ]);
  b.clock.advance(PATIENCE_NS);
}

/** Moves `count` message bytes in and acknowledges them. */
const messageIn = (count: number) => [S.move(S.MESSAGE_IN, count, IN), S.clear(S.ACK)];

/** Takes a DISCONNECT message and waits for the bus to be free. */
const LET_GO = [...messageIn(1), S.waitDisconnect()];

/** Waits for a reselection and takes `count` message bytes; SIGP jumps to an INT 0x516. */
function reselection(b: Bench, count: number): number[][] {
  const alternative = b.load([S.int(0x516)], 0x600);
  return [S.waitReselect(alternative), ...messageIn(count)];
}

/** Status to IN + 8, COMMAND COMPLETE, bus free. */
const FINISH = [S.move(S.STATUS, 1, IN + 8), S.move(S.MESSAGE_IN, 1, IN + 9), S.clear(S.ACK), S.waitDisconnect()];

/** The vector of the INT that has stopped SCRIPTS, or undefined. */
function stopped(b: Bench): number | undefined {
  return (b.read8(Reg.DSTAT) & Dstat.SIR) !== 0 ? b.read32(Reg.DSPS) : undefined;
}

Deno.test("selection connects: CON, SDID, SDU, BSY/ and ATN/, and MESSAGE OUT phase", () => {
  const b = bench(new FakeTarget());
  b.run([S.select(2), S.int(1, S.whenPhase(S.MESSAGE_OUT))]);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, Scntl1.CON);
  assertEquals(b.read8(Reg.ISTAT0) & Istat0.CON, Istat0.CON);
  assertEquals(b.read8(Reg.SDID), 2);
  assertEquals(b.read8(Reg.SCNTL2) & Scntl2.SDU, Scntl2.SDU);
  assertEquals(b.read8(Reg.SBCL), ControlLine.REQ | ControlLine.BSY | ControlLine.ATN | S.MESSAGE_OUT);
});

Deno.test("selection by table loads SCNTL3, the id and SXFER", () => {
  const b = bench(new FakeTarget());
  b.write32(Reg.DSA, 0x4000);
  b.poke(0x4008, 0xa5022f00);
  b.run([S.selectTable(8), S.int(1)]);
  assertEquals([b.read8(Reg.SCNTL3), b.read8(Reg.SDID), b.read8(Reg.SXFER)], [0xa5, 0x02, 0x2f]);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, Scntl1.CON);
});

Deno.test("ATN/ is released with the last message byte, and COMMAND phase follows", () => {
  const b = bench(new FakeTarget());
  b.ram[OUT] = IDENTIFY;
  b.run([S.select(2), S.move(S.MESSAGE_OUT, 1, OUT), S.int(1, S.whenPhase(S.COMMAND))]);
  assertEquals(b.read8(Reg.SOCL) & ControlLine.ATN, 0);
  assertEquals(stopped(b), 1);
});

Deno.test("a target selected without ATN/ goes to COMMAND phase, with the logical unit in the CDB", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram.set([0x00, 3 << 5, 0, 0, 0, 0], CDB);
  b.run([S.select(2, 0, { attention: false }), S.move(S.COMMAND, 6, CDB), ...FINISH, S.int(1)]);
  assertEquals(target.last.lun, 3);
  assertEquals(stopped(b), 1);
});

Deno.test("a target selected without ATN/ takes IDENTIFY all the same when the initiator insists", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram[OUT] = IDENTIFY | 1;
  b.run([
    S.select(2, 0, { attention: false }),
    S.move(S.MESSAGE_OUT, 1, OUT),
    S.move(S.COMMAND, 6, CDB),
    ...FINISH,
    S.int(1),
  ]);
  assertEquals(target.last.lun, 1);
  assertEquals(stopped(b), 1);
});

Deno.test("selecting after a target has reselected takes the alternative address, also a relative one", () => {
  for (const [alternative, relative] of [[RAM_BASE + 0x408, false], [0x400, true]] as const) {
    const target = new FakeTarget();
    const b = bench(target);
    issue(b, [IDENTIFY | DISCONNECT], LET_GO);
    assertEquals(stopped(b), 1);
    target.last.end();
    b.load([S.waitReselect(0), S.int(2)]);
    b.start(RAM_BASE);
    assertEquals(stopped(b), 2);
    b.load([S.int(9)], 0x408);
    b.run([S.select(2, alternative, { relative }), S.int(3)]);
    assertEquals(stopped(b), 9);
  }
});

Deno.test("selecting again in the middle of a connection of one's own gives its command up", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY], [S.move(S.DATA_IN, 4, DATA)]);
  b.run([S.select(2, RAM_BASE + 0x400), S.int(2, S.whenPhase(S.MESSAGE_OUT)), S.int(3)]);
  assertEquals(stopped(b), 2);
  assertEquals(target.last.cancelled, true);
  assertEquals(b.read16(Reg.SIST0), 0);
});

Deno.test("a logical unit that answers at once is not disconnected, privilege or not", () => {
  const b = bench(dataInTarget([1, 2, 3]));
  issue(b, [IDENTIFY | DISCONNECT], [S.move(S.DATA_IN, 3, DATA), ...FINISH]);
  assertEquals(stopped(b), 1);
  assertEquals(b.device.commandsInFlight, 0);
});

Deno.test("a target without disconnect privilege keeps the bus while it works", () => {
  const target = new FakeTarget({ resume: (request) => request.end() });
  const b = bench(target);
  issue(b, [IDENTIFY], [S.move(S.DATA_IN, 3, DATA), ...FINISH]);
  assertEquals(stopped(b), undefined);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, Scntl1.CON);
  target.last.offer([1, 2, 3]);
  assertEquals(stopped(b), 1);
});

Deno.test("a target with privilege disconnects when it has nothing to send, and reselects when it has", () => {
  const target = new FakeTarget({ resume: (request) => request.end() });
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT | 1], [
    ...LET_GO,
    ...reselection(b, 1),
    S.move(S.DATA_IN, 3, DATA),
    ...FINISH,
  ]);
  assertEquals(b.ram[IN], 0x04, "DISCONNECT, without SAVE DATA POINTER as no data have moved");
  assertEquals(stopped(b), undefined);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, 0);
  target.last.offer([7, 8, 9]);
  assertEquals(stopped(b), 1);
  assertEquals(b.ram[IN], IDENTIFY | 1);
  assertEquals(b.read8(Reg.SSID), 0x82);
  assertEquals([...b.ram.subarray(DATA, DATA + 3)], [7, 8, 9]);
});

Deno.test("a command without data that ends later reselects for its status", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT], [...LET_GO, ...reselection(b, 1), ...FINISH]);
  target.last.end(ScsiStatus.CHECK_CONDITION);
  assertEquals(stopped(b), 1);
  assertEquals(b.ram[IN + 8], ScsiStatus.CHECK_CONDITION);
});

Deno.test("a target that pauses in the middle of its data saves the data pointer first", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT], [
    ...LET_GO,
    ...reselection(b, 1),
    S.move(S.DATA_IN, 2, DATA),
    ...messageIn(2),
    S.waitDisconnect(),
    S.waitReselect(0),
  ]);
  target.last.offer([1, 2]);
  b.clock.advance(PATIENCE_NS);
  assertEquals([...b.ram.subarray(IN, IN + 2)], [0x02, 0x04]);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, 0);
});

Deno.test("a target that pauses inside a move is a phase mismatch, and goes on where it left off", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT], [...LET_GO, ...reselection(b, 1), S.move(S.DATA_IN, 5, DATA)]);
  target.last.offer([1, 2]);
  b.clock.advance(PATIENCE_NS);
  assertEquals(b.read16(Reg.SIST0), Sist0.MA);
  assertEquals(b.read32(Reg.DBC) & 0xffffff, 3);
  b.run([...messageIn(2), S.waitDisconnect(), ...reselection(b, 1), S.move(S.DATA_IN, 3, DATA + 2), S.int(2)]);
  target.last.offer([3, 4, 5]);
  assertEquals(stopped(b), 2);
  assertEquals([...b.ram.subarray(DATA, DATA + 5)], [1, 2, 3, 4, 5]);
});

Deno.test("tagged commands come back in the order in which they are done, each with its tag", () => {
  const target = new FakeTarget({ resume: (request) => request.end() });
  const b = bench(target);
  for (const tag of [0x11, 0x22, 0x33]) issue(b, [IDENTIFY | DISCONNECT, SIMPLE, tag], LET_GO);
  assertEquals(b.device.commandsInFlight, 3);
  const [first, second, third] = target.requests;
  const collect = () => {
    b.run([...reselection(b, 3), S.move(S.DATA_IN, 1, DATA), ...FINISH, S.int(2)]);
    assertEquals(stopped(b), 2);
    return [b.ram[IN], b.ram[IN + 1], b.ram[IN + 2], b.ram[DATA]];
  };
  third.offer([0xc3]);
  first.offer([0xc1]);
  assertEquals(collect(), [IDENTIFY, SIMPLE, 0x33, 0xc3]);
  assertEquals(b.read8(Reg.SIDL), 0x00);
  second.offer([0xc2]);
  assertEquals(collect(), [IDENTIFY, SIMPLE, 0x11, 0xc1]);
  assertEquals(collect(), [IDENTIFY, SIMPLE, 0x22, 0xc2]);
  assertEquals(b.device.commandsInFlight, 0);
});

Deno.test("SIDL holds the last message byte, which is the tag after a reselection", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT, SIMPLE, 0x77], [...LET_GO, ...reselection(b, 1), S.move(S.MESSAGE_IN, 2, IN)]);
  target.last.end();
  assertEquals(stopped(b), 1);
  assertEquals(b.read8(Reg.SIDL), 0x77);
  assertEquals(b.read8(Reg.SFBR), SIMPLE);
});

Deno.test("a reselection leaves the id in SFBR only in 53C700 compatibility", () => {
  for (const [dcntl, sfbr] of [[0, 1 << 2], [Dcntl.COM, 0x5a]]) {
    const target = new FakeTarget();
    const b = bench(target);
    b.write8(Reg.DCNTL, dcntl);
    issue(b, [IDENTIFY | DISCONNECT], LET_GO);
    target.last.end();
    b.write8(Reg.SFBR, 0x5a);
    b.run([S.waitReselect(0), S.int(2)]);
    assertEquals(b.read8(Reg.SFBR), sfbr);
    assertEquals(b.read8(Reg.STEST0) >> 4, 7, "reselected as the chip's own id");
  }
});

Deno.test("a reselection interrupts SCRIPTS that are stopped, where RSL and RRE are enabled", () => {
  const target = new FakeTarget();
  const b = bench(target);
  b.write8(Reg.SCID, Scid.RRE | 7);
  b.write8(Reg.SIEN0, Sist0.RSL);
  issue(b, [IDENTIFY | DISCONNECT], LET_GO);
  target.last.end();
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, 0, "the INT has to be served first");
  assertEquals(stopped(b), 1);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, Scntl1.CON);
  assertEquals([b.pin, b.read16(Reg.SIST0)], [true, Sist0.RSL]);
  b.run([...messageIn(1), ...FINISH, S.int(2)]);
  assertEquals(stopped(b), 2);
});

Deno.test("a reselection interrupts Wait Reselect where RSL is enabled, and is not posted where it is not", () => {
  const outcome = (sien0: number) => {
    const target = new FakeTarget();
    const b = bench(target);
    issue(b, [IDENTIFY | DISCONNECT], LET_GO);
    b.read8(Reg.DSTAT);
    b.write8(Reg.SIEN0, sien0);
    b.run([S.waitReselect(0), S.int(2)]);
    target.last.end();
    return [b.read16(Reg.SIST0), stopped(b)];
  };
  assertEquals(outcome(Sist0.RSL), [Sist0.RSL, undefined]);
  assertEquals(outcome(0), [0, 2]);
});

Deno.test("SIGP ends Wait Reselect by its jump, before or while it waits, and before a reselection", () => {
  const b = bench(new FakeTarget());
  b.write8(Reg.ISTAT0, Istat0.SIGP);
  b.run([...reselection(b, 1)]);
  assertEquals(stopped(b), 0x516);
  b.write8(Reg.ISTAT0, 0);
  b.run([...reselection(b, 1)]);
  assertEquals(stopped(b), undefined);
  b.write8(Reg.ISTAT0, Istat0.SIGP);
  assertEquals(stopped(b), 0x516);
  assertEquals(b.read32(Reg.DNAD), RAM_BASE + 0x600);
});

Deno.test("Wait Reselect jumps relative to the next instruction", () => {
  const b = bench(new FakeTarget());
  b.write8(Reg.ISTAT0, Istat0.SIGP);
  b.run([S.waitReselect(8, { relative: true }), S.int(1), S.int(2)]);
  assertEquals(stopped(b), 2);
});

Deno.test("LDSC is set by disconnecting and cleared by a move", () => {
  const b = bench(dataInTarget([1]));
  assertEquals(b.read8(Reg.SSTAT2) & Sstat2.LDSC, Sstat2.LDSC);
  b.ram[OUT] = IDENTIFY;
  b.run([S.select(2), S.move(S.MESSAGE_OUT, 1, OUT), S.int(1)]);
  assertEquals(b.read8(Reg.SSTAT2) & Sstat2.LDSC, 0);
});

/** Sends messages to a fresh connection and reads the target's answer, if it has one. */
function converse(messages: number[], answer: number): { bench: Bench; target: FakeTarget; bytes: number[] } {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram.set(messages, OUT);
  b.run([
    S.select(2),
    S.move(S.MESSAGE_OUT, messages.length, OUT),
    S.int(1, S.whenPhase(S.COMMAND)),
    S.move(S.MESSAGE_IN, answer, IN),
    S.clear(S.ACK),
    S.int(2, S.whenPhase(S.COMMAND)),
    S.int(3),
  ]);
  return { bench: b, target, bytes: [...b.ram.subarray(IN, IN + answer)] };
}

Deno.test("SDTR is agreed to, with at most the chip's offset", () => {
  const { bench: b, bytes } = converse([IDENTIFY, 1, 3, 1, 0x0a, 0x3f], 5);
  assertEquals(bytes, [1, 3, 1, 0x0a, 31]);
  assertEquals(stopped(b), 2);
});

Deno.test("WDTR is agreed to, up to 16 bits", () => {
  assertEquals(converse([IDENTIFY, 1, 2, 3, 1], 4).bytes, [1, 2, 3, 1]);
  assertEquals(converse([IDENTIFY, 1, 2, 3, 2], 4).bytes, [1, 2, 3, 1]);
});

Deno.test("PPR is agreed to without double-transition clocking", () => {
  assertEquals(converse([IDENTIFY, 1, 6, 4, 9, 0, 62, 1, 2], 8).bytes, [1, 6, 4, 10, 0, 31, 1, 0]);
});

Deno.test("messages that a target does not know are rejected, by their whole length", () => {
  for (const unknown of [[0x11], [0x7f], [0x2a, 0x55], [1, 2, 0x7e, 0], [1, 5, 1, 1, 1, 1, 1], [1, 1, 0x01]]) {
    const { bench: b, bytes } = converse([IDENTIFY, ...unknown], 1);
    assertEquals(bytes, [0x07], `message ${unknown}`);
    assertEquals(stopped(b), 2);
  }
});

Deno.test("messages that ask for nothing are taken in silence", () => {
  const { bench: b } = converse([IDENTIFY, 0x08, 0x07, 0x05, 0x09], 1);
  assertEquals(stopped(b), 1);
});

Deno.test("the peek at SBDL shows the message byte that waits", () => {
  const b = bench(new FakeTarget());
  b.ram.set([IDENTIFY, 0x11], OUT);
  b.run([S.select(2), S.move(S.MESSAGE_OUT, 2, OUT), S.int(1, S.whenPhase(S.MESSAGE_IN))]);
  assertEquals(b.read16(Reg.SBDL), 0x07);
});

Deno.test("a message may be cut between two moves", () => {
  const target = dataInTarget([]);
  const b = bench(target);
  b.ram.set([IDENTIFY, 1, 3, 1, 0x19, 8], OUT);
  b.run([
    S.select(2),
    S.move(S.MESSAGE_OUT, 3, OUT),
    S.int(9, S.whenPhase(S.MESSAGE_OUT, false)),
    S.move(S.MESSAGE_OUT, 3, OUT + 3),
    S.move(S.MESSAGE_IN, 5, IN),
    S.int(1),
  ]);
  assertEquals([...b.ram.subarray(IN, IN + 5)], [1, 3, 1, 0x19, 8]);
});

Deno.test("ATN/ raised in a data phase calls the target to MESSAGE OUT, after which the data go on", () => {
  const target = dataInTarget([1, 2, 3, 4]);
  const b = bench(target);
  b.ram[OUT + 8] = 0x08;
  issue(b, [IDENTIFY], [
    S.move(S.DATA_IN, 2, DATA),
    S.set(S.ATN),
    S.int(9, S.whenPhase(S.MESSAGE_OUT, false)),
    S.move(S.MESSAGE_OUT, 1, OUT + 8),
    S.move(S.DATA_IN, 2, DATA + 2),
    ...FINISH,
  ]);
  assertEquals(stopped(b), 1);
  assertEquals([...b.ram.subarray(DATA, DATA + 4)], [1, 2, 3, 4]);
});

Deno.test("a target whose DISCONNECT is rejected stays, and does not try again", () => {
  const target = new FakeTarget();
  const b = bench(target);
  b.ram[OUT + 8] = 0x07;
  issue(b, [IDENTIFY | DISCONNECT], [
    S.move(S.MESSAGE_IN, 1, IN),
    S.set(S.ATN),
    S.clear(S.ACK),
    S.move(S.MESSAGE_OUT, 1, OUT + 8),
    ...FINISH,
  ]);
  assertEquals(stopped(b), undefined);
  assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, Scntl1.CON);
  target.last.end();
  assertEquals(stopped(b), 1);
});

/** Queues tagged commands 1 to 3 on lun 0 and one on lun 1, then sends `messages` in a connection of its own. */
function abortWith(messages: number[]): { bench: Bench; target: FakeTarget } {
  const target = new FakeTarget();
  const b = bench(target);
  for (const tag of [1, 2, 3]) issue(b, [IDENTIFY | DISCONNECT, SIMPLE, tag], LET_GO);
  issue(b, [IDENTIFY | DISCONNECT | 1, SIMPLE, 1], LET_GO);
  b.read8(Reg.DSTAT);
  b.ram.set(messages, OUT);
  b.run([
    S.select(2),
    S.modify(Reg.SCNTL2, S.Alu.AND, 0x7f),
    S.move(S.MESSAGE_OUT, messages.length, OUT),
    S.clear(S.ACK | S.ATN),
    S.waitDisconnect(),
    S.int(4),
  ]);
  assertEquals(stopped(b), 4);
  assertEquals(b.read16(Reg.SIST0), 0);
  return { bench: b, target };
}

const cancelled = (target: FakeTarget) => target.requests.map((request) => request.cancelled);

Deno.test("ABORT TAG drops the one command", () => {
  const { target } = abortWith([IDENTIFY, SIMPLE, 2, 0x0d]);
  assertEquals(cancelled(target), [false, true, false, false]);
});

Deno.test("ABORT and CLEAR QUEUE drop the commands of the logical unit", () => {
  for (const message of [0x06, 0x0e]) {
    const { bench: b, target } = abortWith([IDENTIFY, message]);
    assertEquals(cancelled(target), [true, true, true, false]);
    assertEquals(b.device.commandsInFlight, 1);
  }
});

Deno.test("BUS DEVICE RESET drops all commands of the target and resets it", () => {
  const { bench: b, target } = abortWith([0x0c]);
  assertEquals(cancelled(target), [true, true, true, true]);
  assertEquals(target.resets, 1);
  assertEquals(b.device.commandsInFlight, 0);
});

Deno.test("an aborted command that answers all the same is not heard", () => {
  const { bench: b, target } = abortWith([0x0c]);
  target.requests[0].end();
  target.requests[1].offer([1]);
  b.run([S.waitReselect(0), S.int(5)]);
  assertEquals(stopped(b), undefined);
});

Deno.test("the bus going free while SDU is set is an unexpected disconnect", () => {
  const b = bench(new FakeTarget());
  b.ram[OUT] = 0x0c;
  b.run([S.select(2), S.move(S.MESSAGE_OUT, 1, OUT), S.waitDisconnect(), S.int(1)]);
  assertEquals(b.read16(Reg.SIST0), Sist0.UDC);
  assertEquals(stopped(b), undefined);
});

Deno.test("COMMAND COMPLETE and DISCONNECT free the bus legally, even from a driver that forgot SDU", () => {
  const b = bench(dataInTarget([]));
  issue(b, [IDENTIFY], FINISH);
  assertEquals(b.read8(Reg.SCNTL2) & Scntl2.SDU, Scntl2.SDU);
  assertEquals([b.read16(Reg.SIST0), stopped(b)], [0, 1]);
});

Deno.test("a driver that neither acknowledges nor waits for the bus still finds it free at the next selection", () => {
  const b = bench(dataInTarget([]));
  const careless = [S.move(S.STATUS, 1, IN + 8), S.move(S.MESSAGE_IN, 1, IN + 9)];
  issue(b, [IDENTIFY], careless);
  assertEquals(stopped(b), 1);
  issue(b, [IDENTIFY], careless, 2);
  assertEquals(stopped(b), 2);
});

Deno.test("a second command of the same nexus replaces the first", () => {
  const target = new FakeTarget();
  const b = bench(target);
  issue(b, [IDENTIFY | DISCONNECT, SIMPLE, 5], LET_GO);
  issue(b, [IDENTIFY | DISCONNECT, SIMPLE, 5], LET_GO);
  assertEquals(cancelled(target), [true, false]);
  assertEquals(b.device.commandsInFlight, 1);
});

Deno.test("commands beyond the limit end with TASK SET FULL", () => {
  const target = new FakeTarget();
  const b = new Bench();
  for (let id = 0; id < 8; id++) b.targets.set(id, target);
  for (let n = 0; n < MAX_PROCESSES - 1; n++) {
    b.ram.set([IDENTIFY | DISCONNECT, SIMPLE, n & 0xff], OUT);
    b.run([S.select(n >> 8), S.move(S.MESSAGE_OUT, 3, OUT), S.move(S.COMMAND, 6, CDB), ...LET_GO, S.int(1)]);
    if (n === 0) b.clock.advance(PATIENCE_NS);
  }
  assertEquals(b.device.commandsInFlight, MAX_PROCESSES - 1);
  b.ram.set([IDENTIFY | DISCONNECT, SIMPLE, 1], OUT);
  b.run([S.select(6), S.move(S.MESSAGE_OUT, 3, OUT), S.move(S.COMMAND, 6, CDB), ...FINISH, S.int(2)]);
  b.read8(Reg.DSTAT);
  assertEquals(b.ram[IN + 8], ScsiStatus.TASK_SET_FULL);
  assertEquals(target.requests.length, MAX_PROCESSES - 1);
});

Deno.test("a soft reset and a bus reset drop commands in flight", () => {
  for (const reset of [(b: Bench) => b.write8(Reg.ISTAT0, Istat0.SRST), (b: Bench) => b.write8(Reg.SCNTL1, 0x08)]) {
    const target = new FakeTarget();
    const b = bench(target);
    issue(b, [IDENTIFY | DISCONNECT, SIMPLE, 1], LET_GO);
    issue(b, [IDENTIFY], [S.move(S.DATA_IN, 4, DATA)]);
    reset(b);
    assertEquals(cancelled(target), [true, true]);
    assertEquals(b.read8(Reg.SCNTL1) & Scntl1.CON, 0);
    assertEquals(b.device.commandsInFlight, 0);
  }
});

Deno.test("a target that is taken away between selection and command ends it with BUSY", () => {
  const b = bench(new FakeTarget());
  b.ram[OUT] = IDENTIFY;
  b.run([S.select(2), S.move(S.MESSAGE_OUT, 1, OUT), S.int(1)]);
  b.targets.clear();
  b.run([S.move(S.COMMAND, 6, CDB), ...FINISH, S.int(2)]);
  assertEquals(b.ram[IN + 8], ScsiStatus.BUSY);
});

Deno.test("nobody answers a reselection by the chip in target mode", () => {
  const b = bench(new FakeTarget());
  b.run([S.set(S.TARGET), S.select(2), S.int(1)]);
  assertEquals(b.read16(Reg.SIST0), Sist1.STO << 8);
});
