/** What of the chip a host may read without asking it: always there, and always true. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type AccessSize, PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import type { SavedState } from "../../../src/device/state.ts";
import { checkShadowLayout } from "../../../src/link/ring/shadow.ts";
import { PATIENCE_NS } from "../../../src/remote/lsi53c895a/patience.ts";
import {
  ControlLine,
  Ctest2,
  Dstat,
  Istat0,
  Istat1,
  Reg,
  Scntl1,
  Sist0,
  Sist1,
} from "../../../src/remote/lsi53c895a/registers.ts";
import { runs } from "../../support/runs.ts";
import { act, reply, stage } from "./guest_acts.ts";
import { Bench, dataInTarget, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** Dwords that have a register in them whose reading has an effect: DSTAT, CTEST2, SIST0 and SIST1. */
const NOT_SHADOWED = [0x0c, 0x18, 0x40];
/** Sizes of the BARs, and of config space. */
const SIZES = new Map<number | "config", number>([[0, 0x100], [1, 0x400], [2, 0x2000], ["config", 0x100]]);

/** A register by its shadow alone. */
function shadowed(bench: Bench, register: number, size: AccessSize = 1): number {
  const value = bench.shadow.load(1, register, size);
  if (value === undefined) throw new Error(`Register ${register} is not in the shadow`);
  return value;
}

/** Calls `look` whenever the device drives its pin, and gathers what it returns where the level is another. */
function atPinChanges<T>(bench: Bench, look: (asserted: boolean) => T): T[] {
  const seen: T[] = [];
  bench.pinDriven = (asserted) => {
    if (asserted !== bench.pin) seen.push(look(asserted));
  };
  return seen;
}

/** Calls `look` whenever the device writes to guest RAM, which is unchanged still. */
function atDma(bench: Bench, look: () => void): void {
  const write = bench.memory.write.bind(bench.memory);
  bench.memory.write = (address, from) => {
    look();
    return write(address, from);
  };
}

Deno.test("the device asks for its shadow once, in ranges that the link takes", () => {
  const { shadow } = new Bench();
  assertEquals(shadow.asked, 1);
  const spaces = [...SIZES.keys()];
  const ranges = shadow.ranges.map(({ bar, ...range }) => ({ ...range, space: spaces.indexOf(bar) }));
  checkShadowLayout({ size: shadow.bytes.length, ranges }, [...SIZES.values()]);
});

Deno.test("in the shadow is all but the dwords with a register that is changed by reading it", () => {
  const { shadow } = new Bench();
  for (const [bar, size] of SIZES) {
    const registers = bar === 0 || bar === 1;
    for (let at = 0; at < size; at += 4) {
      const expected = !registers || !NOT_SHADOWED.includes(at & 0xff);
      assertEquals(shadow.load(bar, at, 4) !== undefined, expected, `dword ${at} of ${bar}`);
    }
  }
});

Deno.test("a new chip's reset values are in its shadow", () => {
  const bench = new Bench();
  assertEquals(shadowed(bench, Reg.SCNTL0), 0xc0);
  assertEquals(shadowed(bench, Reg.GPREG), 0x0f, "inputs are high");
  assertEquals(bench.shadow.load("config", PciConfig.VENDOR_ID, 4), 0x00121000);
});

Deno.test("DIP is in the shadow before the pin rises, and gone from it before the pin falls", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  const seen = atPinChanges(bench, (asserted) => [asserted, shadowed(bench, Reg.ISTAT0), shadowed(bench, Reg.ISTAT1)]);
  bench.run([S.int(0x77)]);
  bench.read8(Reg.DSTAT);
  assertEquals(seen, [[true, Istat0.DIP, 0], [false, 0, 0]]);
});

Deno.test("SIP is in the shadow before the pin rises, and SRUN is not any more", () => {
  const bench = new Bench();
  bench.write8(Reg.SIEN1, Sist1.GEN);
  bench.run([S.waitReselect(0)]);
  assertEquals(shadowed(bench, Reg.ISTAT1), Istat1.SRUN);
  const seen = atPinChanges(bench, () => [shadowed(bench, Reg.ISTAT0), shadowed(bench, Reg.ISTAT1)]);
  bench.write8(Reg.STIME1, 1);
  bench.clock.advance(125_000);
  assertEquals(seen, [[Istat0.SIP, 0]]);
});

Deno.test("INTF is in the shadow before the pin rises", () => {
  const bench = new Bench();
  const seen = atPinChanges(bench, () => shadowed(bench, Reg.ISTAT0));
  bench.run([S.intfly(), S.waitReselect(0)]);
  bench.write8(Reg.ISTAT0, Istat0.INTF);
  assertEquals(seen, [Istat0.INTF, 0]);
});

Deno.test("interrupts that waited behind another are in the shadow before the pin rises again", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.write8(Reg.SIEN0, Sist0.RST);
  bench.run([S.int(0)]);
  bench.write8(Reg.SCNTL1, Scntl1.RST);
  const seen = atPinChanges(bench, (asserted) => [asserted, shadowed(bench, Reg.ISTAT0)]);
  bench.read8(Reg.DSTAT);
  assertEquals(seen, [[false, 0], [true, Istat0.SIP]]);
});

Deno.test("what SCRIPTS put into a register is in the shadow before what they then write to guest RAM", () => {
  const bench = new Bench();
  const seen: number[] = [];
  atDma(bench, () => seen.push(shadowed(bench, Reg.SCRATCHC)));
  bench.run([S.modify(Reg.SCRATCHC, S.Alu.MOVE, 0x5a), S.store(Reg.DSA, 4, 0x1000), S.int(0)]);
  assertEquals(seen, [0x5a]);
});

Deno.test("a connection shows in the shadow: CON, the phase with REQ/, the message byte, and all of it gone", () => {
  const bench = new Bench();
  bench.targets.set(0, dataInTarget([]));
  bench.ram[0x1000] = 0x80;
  const look = () => [Reg.ISTAT0, Reg.SBCL, Reg.SBDL].map((register) => shadowed(bench, register));
  bench.run([S.select(0), S.move(S.MESSAGE_OUT, 1, 0x1000), S.int(1, S.whenPhase(S.COMMAND))]);
  assertEquals(look(), [Istat0.CON | Istat0.DIP, ControlLine.BSY | ControlLine.REQ | S.COMMAND, 0]);
  bench.read8(Reg.DSTAT);
  bench.run([
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.STATUS, 1, 0x3000),
    S.int(1, S.whenPhase(S.MESSAGE_IN)),
  ]);
  assertEquals(look().slice(1), [ControlLine.BSY | ControlLine.REQ | S.MESSAGE_IN, 0], "COMMAND COMPLETE is 0");
  bench.read8(Reg.DSTAT);
  bench.run([S.move(S.MESSAGE_IN, 1, 0x3001), S.int(1)]);
  assertEquals(look()[1] & ControlLine.ACK, ControlLine.ACK);
  bench.read8(Reg.DSTAT);
  bench.run([S.clear(S.ACK), S.waitDisconnect()]);
  assertEquals(look(), [0, 0, 0]);
});

Deno.test("the message byte that a target offers is in the shadow until it is taken", () => {
  const bench = new Bench();
  bench.targets.set(0, new FakeTarget());
  bench.ram.set([0xc0, 0x20, 0x42], 0x1000);
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 3, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.int(1, S.whenPhase(S.MESSAGE_IN)),
  ]);
  bench.clock.advance(PATIENCE_NS);
  assertEquals(shadowed(bench, Reg.SBDL), 0x04, "DISCONNECT");
  bench.read8(Reg.DSTAT);
  bench.run([S.move(S.MESSAGE_IN, 1, 0x3000), S.int(2)]);
  assertEquals(shadowed(bench, Reg.SBDL), 0);
});

Deno.test("a target's answer to a message is in the shadow at once, and gone when the target gives it up", () => {
  const bench = new Bench();
  bench.targets.set(0, new FakeTarget());
  bench.ram.set([0x80, 1, 3, 1, 0x19, 8], 0x1000);
  bench.run([S.select(0), S.move(S.MESSAGE_OUT, 6, 0x1000), S.int(1)]);
  assertEquals(shadowed(bench, Reg.SBDL), 0x01, "an extended message");
  bench.read8(Reg.DSTAT);
  bench.ram[0x1006] = 0x06;
  bench.run([S.set(S.ATN), S.move(S.MESSAGE_OUT, 1, 0x1006), S.int(2)]);
  assertEquals(shadowed(bench, Reg.SBDL), 0, "ABORT");
});

Deno.test("a DISCONNECT that the initiator rejects is not in the shadow any more", () => {
  const bench = new Bench();
  bench.targets.set(0, new FakeTarget());
  bench.ram.set([0xc0, 0x07], 0x1000);
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.int(1, S.whenPhase(S.MESSAGE_IN)),
  ]);
  bench.clock.advance(PATIENCE_NS);
  assertEquals(shadowed(bench, Reg.SBDL), 0x04);
  bench.read8(Reg.DSTAT);
  bench.run([S.set(S.ATN), S.move(S.MESSAGE_OUT, 1, 0x1001), S.int(2)]);
  assertEquals(shadowed(bench, Reg.SBDL), 0);
});

Deno.test("DFIFO and CTEST5 follow DBC in the shadow, whichever way it is written", () => {
  const bench = new Bench();
  const look = () => [shadowed(bench, Reg.DFIFO), shadowed(bench, Reg.CTEST5) & 3];
  bench.write32(Reg.DBC, 0x345);
  assertEquals(look(), [0x45, 3]);
  bench.write8(Reg.DBC + 1, 0x01);
  assertEquals(look(), [0x45, 1]);
  bench.run([S.int(0)]);
  assertEquals(shadowed(bench, Reg.DBC, 4), S.int(0)[0]);
  assertEquals(look(), [0, 0]);
});

Deno.test("SCRATCHA and SCRATCHB show in the shadow where the BARs are, for as long as PCICIE is set", () => {
  const bench = new Bench();
  const look = () => [shadowed(bench, Reg.SCRATCHA, 4), shadowed(bench, Reg.SCRATCHB, 4)];
  bench.write32(Reg.SCRATCHA, 0x11111111);
  bench.write8(Reg.CTEST2, Ctest2.PCICIE);
  assertEquals(look(), [REGISTERS_BASE, RAM_BASE]);
  bench.write32(Reg.SCRATCHB, 0x22222222);
  bench.configWrite(PciConfig.BAR0 + 8, 4, 0xfd000000);
  assertEquals(look(), [REGISTERS_BASE, 0xfd000000]);
  bench.write8(Reg.CTEST2, 0);
  assertEquals(look(), [0x11111111, 0x22222222]);
});

Deno.test("a soft reset with PCICIE set leaves reset values, not base addresses", () => {
  const bench = new Bench();
  bench.write8(Reg.CTEST2, Ctest2.PCICIE);
  bench.write8(Reg.ISTAT0, Istat0.SRST);
  assertEquals([shadowed(bench, Reg.SCRATCHA, 4), shadowed(bench, Reg.SCRATCHB, 4)], [0, 0]);
});

Deno.test("config space and SCRIPTS RAM are in the shadow as they are written", () => {
  const bench = new Bench();
  const command = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER;
  assertEquals(bench.shadow.load("config", PciConfig.COMMAND, 2), command);
  assertEquals(bench.shadow.load("config", PciConfig.BAR0 + 4, 4), REGISTERS_BASE);
  bench.run([S.moveMemory(4, RAM_BASE, RAM_BASE + 0x1000), S.int(0)]);
  assertEquals(bench.shadow.load(2, 0x1000, 4), S.moveMemory(4, 0, 0)[0]);
  bench.device.reset();
  assertEquals(bench.shadow.load("config", PciConfig.COMMAND, 2), 0);
  assertEquals(bench.shadow.load(2, 0x1000, 4), 0);
});

/** Interrupts that set SIP even where they are masked (manual, section 2.2.16). */
const FATAL_SIST0 = 0xff & ~(Sist0.CMP | Sist0.SEL | Sist0.RSL);
const FATAL_SIST1 = 0xff & ~(Sist1.GEN | Sist1.HTH);

function field<T>(saved: readonly SavedState[], record: number, name: string): T {
  return saved[record].fields[name] as T;
}

/**
 * What the registers that follow something else have to show, from a saved state: from the interrupts that are posted,
 * the connection, and what was written. `undefined` where that does not tell.
 */
function expectedRegisters(bench: Bench, saved: readonly SavedState[]): [number, number][] {
  const written = field<Uint8Array>(saved, 0, "registers");
  const connected = field<boolean>(saved, 2, "connected");
  const has = (register: number, bits: number) => (written[register] & bits) !== 0;
  const sip = has(Reg.SIST0, FATAL_SIST0 | written[Reg.SIEN0]) || has(Reg.SIST1, FATAL_SIST1 | written[Reg.SIEN1]);
  const kept = written[Reg.ISTAT0] & ~(Istat0.DIP | Istat0.SIP | Istat0.CON);
  const message = connected && field<number>(saved, 2, "messageInCount") > 0;
  const bases = has(Reg.CTEST2, Ctest2.PCICIE);
  const scratch = (register: number, bar: number, i: number): [number, number] => [
    register + i,
    bases ? bench.device.config.read(PciConfig.BAR0 + 4 * bar + i, 1) : written[register + i],
  ];
  return [
    [
      Reg.ISTAT0,
      kept | (written[Reg.DSTAT] !== 0 ? Istat0.DIP : 0) | (sip ? Istat0.SIP : 0) | (connected ? Istat0.CON : 0),
    ],
    [Reg.SBDL, message ? field<Uint8Array>(saved, 2, "messageIn")[0] : 0],
    [Reg.GPREG, 0x1f & ((written[Reg.GPREG] & ~written[Reg.GPCNTL]) | written[Reg.GPCNTL])],
    [Reg.DFIFO, written[Reg.DBC]],
    [Reg.CTEST5, (written[Reg.CTEST5] & 0x3c) | (written[Reg.DBC + 1] & 3)],
    ...[0, 1, 2, 3].flatMap((i) => [scratch(Reg.SCRATCHA, 1, i), scratch(Reg.SCRATCHB, 2, i)]),
  ];
}

/**
 * SBCL: nothing without a connection; else BSY/, the chip's own lines, and REQ/ with the phase that SSTAT1 has latched,
 * or no REQ/.
 */
function possibleLines(saved: readonly SavedState[]): number[] {
  const written = field<Uint8Array>(saved, 0, "registers");
  if (!field<boolean>(saved, 2, "connected")) return [0];
  const own = ControlLine.BSY | (written[Reg.SOCL] & (ControlLine.ATN | ControlLine.ACK));
  return [own, own | ControlLine.REQ | (written[Reg.SSTAT1] & 7)];
}

/** Compares everything in the shadow with what the device answers. */
function compareLoads({ device, shadow }: Bench): void {
  for (const { bar, offset, length, at } of shadow.ranges) {
    const view = new DataView(shadow.bytes.buffer, at, length);
    for (let i = 0; i < length; i += 4) {
      const where = offset + i;
      const answer = bar === "config" ? device.config.read(where, 4) : device.readBar(bar, where, 4);
      if (answer !== view.getUint32(i, true)) assertEquals(answer, view.getUint32(i, true), `${where} of ${bar}`);
      if (bar === 2) continue;
      for (let byte = 0; byte < 4; byte++) {
        const one = bar === "config" ? device.config.read(where + byte, 1) : device.readBar(bar, where + byte, 1);
        if (one !== view.getUint8(i + byte)) assertEquals(one, view.getUint8(i + byte), `${where + byte} of ${bar}`);
      }
    }
  }
}

/** Whether two saved states are the same. */
function assertSame(before: readonly SavedState[], after: readonly SavedState[]): void {
  const different = before.flatMap(({ fields }, record) =>
    Object.entries(fields).flatMap(([name, value]) => {
      const other = after[record].fields[name];
      const same = value instanceof Uint8Array
        ? value.every((byte, i) => byte === (other as Uint8Array)[i])
        : value === other;
      return same ? [] : [name];
    })
  );
  assertEquals(different, [], "loads have changed the device");
}

/** The shadow is what the device answers and what it should answer, and asking has no effect. */
function check(bench: Bench): void {
  const saved = bench.device.save();
  const { pin, rises } = bench;
  const timers = bench.clock.next;
  compareLoads(bench);
  assertEquals([bench.pin, bench.rises, bench.clock.next], [pin, rises, timers]);
  assertSame(saved, bench.device.save());
  for (const [register, value] of expectedRegisters(bench, saved)) {
    if (shadowed(bench, register) !== value) assertEquals(shadowed(bench, register), value, `register ${register}`);
  }
  assert(possibleLines(saved).includes(shadowed(bench, Reg.SBCL)), `SBCL is ${shadowed(bench, Reg.SBCL)}`);
}

/** Checks during a call are as many as this at most: SCRIPTS may drive the pin thousands of times. */
const CHECKS_PER_CALL = 10;

Deno.test("whatever happens, the shadow holds what the device would answer: after calls, at the pin, and at DMA writes", () => {
  fc.assert(
    fc.property(
      fc.array(act, { maxLength: 30, size: "max" }),
      fc.array(reply, { minLength: 1, maxLength: 6 }),
      (acts, replies) => {
        const { bench, late } = stage(replies);
        let left = CHECKS_PER_CALL;
        const checkSome = () => {
          if (left-- > 0) check(bench);
        };
        atPinChanges(bench, checkSome);
        atDma(bench, checkSome);
        for (const one of [...acts, () => bench.device.reset()]) {
          left = CHECKS_PER_CALL;
          one(bench);
          check(bench);
          left = CHECKS_PER_CALL;
          late.shift()?.();
          check(bench);
        }
        bench.device.close();
      },
    ),
    { numRuns: runs(100, 1500) },
  );
});
