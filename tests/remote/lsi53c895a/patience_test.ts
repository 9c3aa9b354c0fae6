/** When a target stays on the bus while it waits for its logical unit, and when it lets go. */
import { assertEquals } from "@std/assert";
import { LONG_PATIENCE_NS, ONE_BY_ONE, PATIENCE_NS } from "../../../src/remote/lsi53c895a/patience.ts";
import { Istat0, Istat1, Reg, Scntl1 } from "../../../src/remote/lsi53c895a/registers.ts";
import { TaskAttribute } from "../../../src/remote/scsi/scsi.ts";
import { Bench, type FakeRequest, FakeTarget, RAM_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

const OUT = 0x1000, CDB = 0x1010, IN = 0x3000, DATA = 0x2000;
const DISCONNECT = 0x04, SAVE_DATA_POINTER = 0x02;

/** A bench with targets at ids 0 and 1, whose commands wait until the test goes on with them. */
function twoTargets(): { b: Bench; targets: FakeTarget[] } {
  const b = new Bench();
  const targets = [0, 1].map(() => new FakeTarget({ resume: () => {} }));
  targets.forEach((target, id) => b.targets.set(id, target));
  return { b, targets };
}

/** Issues a tagged command, and takes what the target says next with `rest`; then waits for a reselection. */
function issue(b: Bench, id: number, rest: number[][], tag = 0x20): void {
  b.ram.set([0xc0, tag, id + 1], OUT);
  b.run([
    S.select(id, RAM_BASE + 0x700),
    S.move(S.MESSAGE_OUT, 3, OUT),
    S.move(S.COMMAND, 6, CDB),
    ...rest,
    S.waitReselect(RAM_BASE + 0x700),
    S.int(1),
  ]);
}

const LET_GO = [S.move(S.MESSAGE_IN, 1, IN), S.clear(S.ACK), S.waitDisconnect()];
const PAUSE = [S.move(S.MESSAGE_IN, 2, IN), S.clear(S.ACK), S.waitDisconnect()];

const connected = (b: Bench) => (b.read8(Reg.SCNTL1) & Scntl1.CON) !== 0;

Deno.test("a target that is alone on the bus waits a moment, and disconnects then", () => {
  const { b } = twoTargets();
  issue(b, 0, LET_GO);
  b.clock.advance(PATIENCE_NS - 1);
  assertEquals(connected(b), true);
  b.clock.advance(1);
  assertEquals([connected(b), b.ram[IN]], [false, DISCONNECT]);
});

Deno.test("what comes within that moment is sent without disconnecting, and the next wait is a new one", () => {
  const { b, targets } = twoTargets();
  issue(b, 0, [S.move(S.DATA_IN, 2, DATA), ...PAUSE]);
  b.clock.advance(PATIENCE_NS - 1);
  targets[0].last.offer([7, 8]);
  assertEquals([connected(b), b.ram[DATA], b.ram[DATA + 1]], [true, 7, 8]);
  b.clock.advance(PATIENCE_NS - 1);
  assertEquals(connected(b), true);
  b.clock.advance(1);
  assertEquals([connected(b), b.ram[IN], b.ram[IN + 1]], [false, SAVE_DATA_POINTER, DISCONNECT]);
});

Deno.test("a target lets go at once when another command is in flight", () => {
  const { b } = twoTargets();
  issue(b, 0, LET_GO);
  b.clock.advance(PATIENCE_NS);
  b.ram[IN] = 0;
  issue(b, 1, LET_GO);
  assertEquals([connected(b), b.ram[IN]], [false, DISCONNECT]);
});

Deno.test("a target lets go at once when the driver has a new command: SIGP was set before, or is set now", () => {
  for (const early of [true, false]) {
    const { b } = twoTargets();
    b.load([S.int(0x516)], 0x700);
    if (early) b.write8(Reg.ISTAT0, Istat0.SIGP);
    issue(b, 0, LET_GO);
    if (!early) {
      assertEquals(connected(b), true);
      b.write8(Reg.ISTAT0, Istat0.SIGP);
    }
    assertEquals([connected(b), b.ram[IN], b.read32(Reg.DSPS)], [false, DISCONNECT, 0x516]);
  }
});

/** Starts a command, with SIGP or without. SCRIPTS stop when it has ended, or the target wants to disconnect. */
function oneCommand(b: Bench, targets: FakeTarget[], signal: boolean): FakeRequest {
  const start = b.load([S.registerToSfbr(Reg.CTEST2, S.Alu.OR), S.jump(RAM_BASE)], 0x700);
  b.ram.set([0xc0, 0x20, 1], OUT);
  b.load([
    S.select(0, 0),
    S.move(S.MESSAGE_OUT, 3, OUT),
    S.move(S.COMMAND, 6, CDB),
    S.move(S.STATUS, 1, IN),
    S.move(S.MESSAGE_IN, 1, IN),
    S.clear(S.ACK),
    S.waitDisconnect(),
    S.int(1),
  ]);
  if (!signal) {
    b.start(start);
  } else {
    b.start(b.load([S.waitReselect(start)], 0x780));
    b.write8(Reg.ISTAT0, Istat0.SIGP);
  }
  return targets[0].last;
}

/** Whether the target of {@linkcode oneCommand} still waits after a time. */
function staysFor(b: Bench, nanoseconds: number): boolean {
  b.clock.advance(nanoseconds);
  return (b.read8(Reg.ISTAT1) & Istat1.SRUN) !== 0;
}

Deno.test("a target stays for longer when the driver has sent some commands one by one, but not for ever", () => {
  const { b, targets } = twoTargets();
  for (let i = 0; i < ONE_BY_ONE; i++) oneCommand(b, targets, true).end();
  oneCommand(b, targets, true);
  assertEquals(staysFor(b, LONG_PATIENCE_NS - 1), true);
  assertEquals(staysFor(b, 1), false);
});

Deno.test("a command that the driver has not announced by itself means that others may wait behind it", () => {
  const { b, targets } = twoTargets();
  for (let i = 0; i < 2 * ONE_BY_ONE; i++) oneCommand(b, targets, i !== ONE_BY_ONE).end();
  oneCommand(b, targets, true);
  assertEquals(staysFor(b, PATIENCE_NS), false);
});

Deno.test("in the middle of its data a target stays although others are at work, until one of them wants the bus", () => {
  const { b, targets } = twoTargets();
  issue(b, 1, LET_GO);
  b.clock.advance(PATIENCE_NS);
  targets[0].behaviour = {
    start(request) {
      request.more = 2;
      request.offer([1, 2]);
    },
  };
  issue(b, 0, [S.move(S.DATA_IN, 2, DATA), ...PAUSE]);
  assertEquals([connected(b), b.ram[DATA]], [true, 1]);
  targets[1].last.offer([9]);
  assertEquals([b.ram[IN], b.ram[IN + 1]], [SAVE_DATA_POINTER, DISCONNECT]);
  assertEquals([connected(b), b.read8(Reg.SSID) & 0xf], [true, 1], "the other has reselected");
});

Deno.test("a target without disconnect privilege waits for as long as it takes", () => {
  const { b, targets } = twoTargets();
  b.ram.set([0x80], OUT);
  b.run([S.select(0), S.move(S.MESSAGE_OUT, 1, OUT), S.move(S.COMMAND, 6, CDB), S.move(S.DATA_IN, 1, DATA), S.int(1)]);
  b.clock.advance(1e12);
  assertEquals(connected(b), true);
  targets[0].last.offer([5]);
  assertEquals([b.ram[DATA], b.read32(Reg.DSPS)], [5, 1]);
});

Deno.test("the patience of a connection that ended by a reset has no effect on the next", () => {
  const { b } = twoTargets();
  issue(b, 0, LET_GO);
  b.clock.advance(PATIENCE_NS - 1);
  b.write8(Reg.SCNTL1, 0x08);
  b.write8(Reg.SCNTL1, 0);
  b.read16(Reg.SIST0);
  issue(b, 0, LET_GO);
  b.clock.advance(PATIENCE_NS - 1);
  assertEquals(connected(b), true);
  b.clock.advance(1);
  assertEquals(connected(b), false);
});

Deno.test("SPI-3 16.3, the queue tag message gives the command its task attribute; a reselection always says SIMPLE", () => {
  const attributes = { 0x20: TaskAttribute.SIMPLE, 0x21: TaskAttribute.HEAD_OF_QUEUE, 0x22: TaskAttribute.ORDERED };
  for (const [message, attribute] of Object.entries(attributes)) {
    const { b, targets } = twoTargets();
    issue(b, 0, LET_GO, Number(message));
    b.clock.advance(PATIENCE_NS);
    assertEquals(targets[0].last.attribute, attribute);
    b.start(b.load([S.waitReselect(0), S.move(S.MESSAGE_IN, 3, IN), S.int(2)]));
    targets[0].last.end();
    assertEquals([...b.ram.subarray(IN, IN + 3)], [0x80, 0x20, 1]);
  }
});

Deno.test("an untagged command is SIMPLE, also after a tagged one", () => {
  const { b, targets } = twoTargets();
  issue(b, 0, LET_GO, 0x22);
  b.clock.advance(PATIENCE_NS);
  b.ram.set([0xc0], OUT);
  b.run([S.select(0), S.move(S.MESSAGE_OUT, 1, OUT), S.move(S.COMMAND, 6, CDB), S.int(1)]);
  assertEquals(targets[0].last.attribute, TaskAttribute.SIMPLE);
});
