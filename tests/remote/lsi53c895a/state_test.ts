import { assertEquals, assertThrows } from "@std/assert";
import type { SavedState } from "../../../src/device/state.ts";
import {
  Ctest2,
  Dstat,
  Istat0,
  Istat1,
  Reg,
  Scid,
  Scntl1,
  Sist0,
  Sist1,
} from "../../../src/remote/lsi53c895a/registers.ts";
import { PATIENCE_NS } from "../../../src/remote/lsi53c895a/patience.ts";
import { ScsiStatus } from "../../../src/remote/scsi/scsi.ts";
import { Bench, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** A second bench with the guest RAM and the saved device of the first. */
function move(from: Bench, target?: FakeTarget): Bench {
  const to = new Bench();
  to.ram.set(from.ram);
  if (target !== undefined) to.targets.set(0, target);
  to.device.restore(structuredClone(from.device.save()));
  return to;
}

/** Sends a tagged command, lets the target go, and waits for its return; then status to 0x3008. */
function disconnected(bench: Bench): void {
  bench.ram.set([0xc0, 0x20, 0x42], 0x1000);
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 3, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.MESSAGE_IN, 1, 0x3000),
    S.clear(S.ACK),
    S.waitDisconnect(),
    S.waitReselect(RAM_BASE),
    S.move(S.MESSAGE_IN, 3, 0x3000),
    S.clear(S.ACK),
    S.move(S.STATUS, 1, 0x3008),
    S.int(1),
  ]);
  bench.clock.advance(PATIENCE_NS);
}

Deno.test("registers, SCRIPTS RAM, config space and pin are the same after a restore", () => {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, 0x12345678);
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.device.writeBar(2, 0x1000, 4, 0xfeedface);
  bench.run([S.set(S.CARRY), S.int(0x42)]);
  const restored = move(bench);
  assertEquals(restored.pin, true);
  assertEquals(restored.read32(Reg.SCRATCHA), 0x12345678);
  assertEquals(restored.device.readBar(2, 0x1000, 4), 0xfeedface);
  assertEquals(restored.device.config.mappings(), bench.device.config.mappings());
  assertEquals([restored.read8(Reg.DSTAT), restored.read32(Reg.DSPS)], [Dstat.DFE | Dstat.SIR, 0x42]);
  restored.run([S.int(1, S.ifCarry()), S.int(0)]);
  assertEquals(restored.read32(Reg.DSPS), 1, "the carry too");
});

Deno.test("stacked interrupts survive", () => {
  const bench = new Bench();
  bench.run([S.int(0)]);
  bench.write8(Reg.SCNTL1, Scntl1.RST);
  const restored = move(bench);
  assertEquals(restored.read8(Reg.ISTAT0), Istat0.DIP);
  restored.read8(Reg.DSTAT);
  assertEquals(restored.read8(Reg.ISTAT0), Istat0.SIP);
});

Deno.test("what was written to a register that shows something else survives", () => {
  const bench = new Bench();
  bench.write8(Reg.GPREG, 0x05);
  bench.write32(Reg.SCRATCHA, 0x12345678);
  bench.write8(Reg.CTEST2, Ctest2.PCICIE);
  bench.write32(Reg.SCRATCHB, 0x9abcdef0);
  const restored = move(bench);
  assertEquals([restored.read8(Reg.GPREG), restored.read32(Reg.SCRATCHA)], [0x0f, REGISTERS_BASE]);
  restored.write8(Reg.GPCNTL, 0);
  restored.write8(Reg.CTEST2, 0);
  assertEquals(restored.read8(Reg.GPREG), 0x05);
  assertEquals([restored.read32(Reg.SCRATCHA), restored.read32(Reg.SCRATCHB)], [0x12345678, 0x9abcdef0]);
});

Deno.test("what a register shows of something else is made anew, and not taken from the state", () => {
  const bench = new Bench();
  const [chip, ...others] = bench.device.save();
  const registers = (chip.fields.registers as Uint8Array).slice();
  registers[Reg.ISTAT0] = Istat0.DIP | Istat0.SIP | Istat0.CON;
  registers[Reg.SBCL] = registers[Reg.SBDL] = registers[Reg.DFIFO] = 0xff;
  bench.device.restore([{ ...chip, fields: { ...chip.fields, registers } }, ...others]);
  const shown = [Reg.ISTAT0, Reg.SBCL, Reg.SBDL, Reg.DFIFO].map((register) => bench.read8(register));
  assertEquals(shown, [0, 0, 0, 0]);
});

Deno.test("interrupts that are stacked behind nothing come up", () => {
  const bench = new Bench();
  bench.write8(Reg.SIEN0, Sist0.RST);
  const [chip, ...others] = bench.device.save();
  bench.device.restore([{ ...chip, fields: { ...chip.fields, stackedSist0: Sist0.RST } }, ...others]);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [true, Istat0.SIP]);
});

Deno.test("a target that wants to reselect a stopped chip interrupts it, whether or not the driver looks", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  disconnected(bench);
  bench.write8(Reg.ISTAT0, Istat0.ABRT);
  bench.write8(Reg.ISTAT0, 0);
  bench.read8(Reg.DSTAT);
  bench.write8(Reg.SCID, Scid.RRE | 7);
  bench.write8(Reg.SIEN0, Sist0.RSL);
  const restored = move(bench, new FakeTarget());
  assertEquals(restored.pin, false);
  restored.clock.advance(0);
  assertEquals(restored.pin, true, "the command is back, BUSY");
  assertEquals(restored.read8(Reg.SIST0), Sist0.RSL);
});

Deno.test("an endless program goes on after a restore", () => {
  const bench = new Bench();
  bench.run([
    S.load(Reg.SCRATCHA, 4, 0x1000),
    S.registerToSfbr(Reg.SCRATCHA, 2),
    S.jumpRelative(-24, S.ifData(0)),
    S.int(1),
  ]);
  const restored = move(bench);
  restored.poke(0x1000, 5);
  restored.clock.advance(1_000_000_000);
  assertEquals(restored.read8(Reg.ISTAT1) & Istat1.SRUN, 0);
  assertEquals(restored.read32(Reg.DSPS), 1);
});

Deno.test("the general purpose timer has as long to go as before", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, 4);
  bench.clock.advance(600_000);
  const restored = move(bench);
  restored.clock.advance(399_999);
  assertEquals(restored.read16(Reg.SIST0), 0);
  restored.clock.advance(1);
  assertEquals(restored.read16(Reg.SIST0), Sist1.GEN << 8);
});

Deno.test("a command that its logical unit has not ended comes back BUSY, so that the driver repeats it", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  disconnected(bench);
  const restored = move(bench, new FakeTarget());
  restored.clock.advance(0);
  assertEquals([...restored.ram.subarray(0x3000, 0x3003)], [0x80, 0x20, 0x42]);
  assertEquals(restored.ram[0x3008], ScsiStatus.BUSY);
  assertEquals(restored.read32(Reg.DSPS), 1);
  assertEquals(target.last.cancelled, false, "saving takes nothing away");
});

Deno.test("a command whose status is known keeps it", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  disconnected(bench);
  bench.write8(Reg.ISTAT0, Istat0.ABRT);
  target.last.end(ScsiStatus.RESERVATION_CONFLICT);
  const restored = move(bench);
  restored.start(RAM_BASE + 6 * 8);
  assertEquals(restored.ram[0x3008], ScsiStatus.RESERVATION_CONFLICT);
});

Deno.test("a connection in its data phase goes on to a short transfer", () => {
  const bench = new Bench();
  bench.targets.set(0, new FakeTarget({ start: (request) => request.offer([1, 2]) }));
  bench.ram[0x1000] = 0x80;
  bench.run([
    S.select(0),
    S.move(S.MESSAGE_OUT, 1, 0x1000),
    S.move(S.COMMAND, 6, 0x1010),
    S.move(S.DATA_IN, 4, 0x2000),
  ]);
  const restored = move(bench, new FakeTarget());
  restored.clock.advance(0);
  assertEquals(restored.read8(Reg.SIST0), 0x80, "phase mismatch");
  assertEquals(restored.read32(Reg.DBC) & 0xffffff, 2);
  assertEquals(restored.read8(Reg.SSTAT1) & 7, S.STATUS);
});

Deno.test("a message cut in two survives between its parts", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  bench.ram.set([0x80, 1, 3, 1, 0x19, 8], 0x1000);
  bench.run([S.select(0), S.move(S.MESSAGE_OUT, 3, 0x1000), S.int(1)]);
  const restored = move(bench, target);
  restored.run([S.move(S.MESSAGE_OUT, 3, 0x1003), S.move(S.MESSAGE_IN, 5, 0x3000), S.int(2)]);
  assertEquals([...restored.ram.subarray(0x3000, 0x3005)], [1, 3, 1, 0x19, 8]);
});

Deno.test("state that does not fit is refused, and the device stays as it was", () => {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, 77);
  const saved = bench.device.save();
  const without = (name: string) => saved.filter((record) => record.name !== name);
  for (const name of saved.map((record) => record.name)) {
    assertThrows(() => bench.device.restore(without(name)), TypeError, name);
    const newer: SavedState = { ...saved.find((record) => record.name === name)!, version: 99 };
    assertThrows(() => bench.device.restore([...without(name), newer]), TypeError, "version 99");
  }
  assertEquals(bench.read32(Reg.SCRATCHA), 77);
});

Deno.test("hostile state is taken without harm", () => {
  const bench = new Bench();
  const hostile = bench.device.save().map((record) => ({
    ...record,
    fields: Object.fromEntries(
      Object.entries(record.fields).map(([name, value]) =>
        [
          name,
          typeof value === "number" ? 0xffffffff : value instanceof Uint8Array ? value.map(() => 0xff) : true,
        ] as const
      ),
    ),
  }));
  bench.device.restore(hostile);
  for (let i = 0; i < 20; i++) bench.clock.advance(100_000_000);
  bench.map();
  bench.write8(Reg.ISTAT0, Istat0.SRST);
  bench.run([S.int(1)]);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
});

Deno.test("a state in which commands share a nexus can be taken over, and saved, again and again", () => {
  const bench = new Bench({ target: () => undefined });
  const hostile = structuredClone(bench.device.save()) as SavedState[];
  const bus = hostile.find(({ name }) => name === "lsi53c895a.bus")!.fields as Record<string, unknown>;
  bus.processCount = 1024; // all of them zero: target 0, LUN 0, no tag
  for (let i = 0; i < 2; i++) bench.device.restore(hostile);
  bus.current = 1023;
  bench.device.restore(hostile);
  const saved = bench.device.save().find(({ name }) => name === "lsi53c895a.bus")!.fields;
  assertEquals([saved.processCount, bench.device.commandsInFlight], [1, 1]);
});

Deno.test("a closed device has no timers, and its commands are dropped", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  disconnected(bench);
  bench.write8(Reg.STIME1, 15);
  bench.device.close();
  assertEquals(bench.clock.next, undefined);
  assertEquals(target.last.cancelled, true);
});
