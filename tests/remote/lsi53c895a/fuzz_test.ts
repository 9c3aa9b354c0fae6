/** Whatever a guest does, no call throws, and none executes more than a slice of SCRIPTS. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { PciConfig } from "../../../src/device/config_space.ts";
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { runs } from "../../support/runs.ts";
import { Bench, type FakeRequest, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

/** Instructions that one call may execute. */
const SLICE = 10_000;

const byte = fc.integer({ min: 0, max: 0xff });
const dword = fc.integer({ min: 0, max: 0xffffffff });
const phase = fc.integer({ min: 0, max: 7 });
const count = fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: 0xffffff }));
const register = fc.oneof(byte, fc.constantFrom(Reg.ISTAT0, Reg.DSP + 3, Reg.SCNTL1, Reg.SIST0, Reg.DCNTL, Reg.STIME1));
/** Addresses where something is: guest RAM, SCRIPTS RAM, the chip's registers; and some where nothing is. */
const address = fc.oneof(
  fc.integer({ min: 0, max: 0x3000 }),
  fc.integer({ min: 0, max: 0x1fff }).map((offset) => RAM_BASE + offset),
  fc.integer({ min: 0, max: 0x3ff }).map((offset) => REGISTERS_BASE + offset),
  dword,
);
const condition = fc.oneof(
  fc.constant(S.always),
  fc.tuple(phase, fc.boolean()).map(([which, wanted]) => S.whenPhase(which, wanted)),
  fc.tuple(phase, fc.boolean()).map(([which, wanted]) => S.ifPhase(which, wanted)),
  fc.tuple(byte, byte).map(([data, mask]) => S.ifData(data, mask)),
);

const instruction = fc.oneof(
  fc.tuple(phase, count, address).map((args) => S.move(...args)),
  fc.tuple(phase, count, address).map((args) => S.moveIndirect(...args)),
  fc.tuple(phase, fc.integer({ min: -64, max: 64 })).map((args) => S.moveTable(...args)),
  fc.tuple(fc.integer({ min: 0, max: 3 }), address).map(([id, alternative]) => S.select(id, alternative)),
  fc.constant(S.waitDisconnect()),
  address.map((alternative) => S.waitReselect(alternative)),
  dword.map((flags) => S.set(flags & 0x648)),
  dword.map((flags) => S.clear(flags & 0x648)),
  fc.tuple(register, phase, byte).map((args) => S.modify(...args)),
  fc.tuple(register, phase, byte).map((args) => S.registerToSfbr(...args)),
  fc.tuple(register, phase, byte).map((args) => S.sfbrToRegister(...args)),
  fc.tuple(fc.integer({ min: -64, max: 64 }), condition).map(([offset, on]) => S.jumpRelative(offset, on)),
  fc.tuple(address, condition).map((args) => S.call(...args)),
  condition.map((on) => S.ret(on)),
  fc.tuple(dword, condition).map((args) => S.int(...args)),
  fc.constant(S.intfly()),
  fc.tuple(count, address, address).map((args) => S.moveMemory(...args)),
  fc.tuple(byte, fc.integer({ min: 0, max: 7 }), address).map((args) => S.load(...args)),
  fc.tuple(byte, fc.integer({ min: 0, max: 7 }), address).map((args) => S.store(...args)),
  fc.tuple(dword, dword).map((words) => [...words]),
);

type Act = (bench: Bench) => void;

const width = fc.constantFrom<1 | 2 | 4>(1, 2, 4);
const act: fc.Arbitrary<Act> = fc.oneof(
  fc.tuple(register, width, dword).map(([offset, size, value]): Act => (b) =>
    b.device.writeBar(1, Math.min(offset, 0x100 - size), size, size === 4 ? value : value % 2 ** (8 * size))
  ),
  fc.tuple(register, width).map(([offset, size]): Act => (b) =>
    b.device.readBar(0, Math.min(offset, 0x100 - size), size)
  ),
  fc.tuple(fc.integer({ min: 0, max: 0x7ff }), dword).map(([at, value]): Act => (b) =>
    b.device.writeBar(2, 4 * at, 4, value)
  ),
  fc.array(instruction, { minLength: 1, maxLength: 12 }).map((program): Act => (b) => b.run(program)),
  fc.integer({ min: 0, max: 5_000_000 }).map((time): Act => (b) => {
    for (let spent = 0; spent < time; spent += 500_000) b.clock.advance(500_000);
  }),
  fc.tuple(fc.integer({ min: PciConfig.COMMAND, max: PciConfig.BAR0 + 11 }), byte).map(([at, value]): Act => (b) =>
    b.configWrite(at, 1, value)
  ),
  fc.constant<Act>((b) => b.map()),
  fc.constant<Act>((b) => b.device.reset()),
  fc.constant<Act>((b) => b.device.restore(b.device.save())),
);

/** What targets do with a command: at once, on the next step, or never. */
const reply = fc.constantFrom(
  (request: FakeRequest) => request.offer([1, 2, 3, 4, 5]),
  (request: FakeRequest) => request.offer([0xff, 0xff, 0xff, 0xff]),
  (request: FakeRequest) => request.offer(new Uint8Array(70_000)),
  (request: FakeRequest) => request.ask(6),
  (request: FakeRequest) => request.end(),
  () => {},
);

/** A bench with three targets that take their replies from a list, and answer late for every other one. */
function stage(replies: ((request: FakeRequest) => void)[]): { bench: Bench; late: (() => void)[] } {
  const bench = new Bench();
  const late: (() => void)[] = [];
  let next = 0;
  const answer = (request: FakeRequest) => {
    const chosen = replies[next++ % replies.length];
    const now = () => {
      if (!request.cancelled) chosen(request);
    };
    if (next % 2 === 0) now();
    else if (late.length < 100) late.push(now);
  };
  for (const id of [0, 1, 3]) bench.targets.set(id, new FakeTarget({ start: answer, resume: answer }));
  bench.ram.set([0xc0, 0x20, 7, 0x12], 0);
  return { bench, late };
}

Deno.test("no sequence of accesses throws, and each ends after a bounded number of instructions", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), fc.array(reply, { minLength: 1, maxLength: 6 }), (acts, replies) => {
      const { bench, late } = stage(replies);
      let timerCalls = 0;
      const advance = bench.clock.step.bind(bench.clock);
      bench.clock.step = () => {
        timerCalls++;
        advance();
      };
      for (const one of acts) {
        timerCalls = 0;
        const before = bench.device.instructionsExecuted;
        one(bench);
        late.shift()?.();
        const calls = 64 + timerCalls;
        assertEquals(bench.device.instructionsExecuted - before <= calls * SLICE, true);
      }
      bench.device.close();
      assertEquals(bench.clock.next, undefined);
    }),
    { numRuns: runs(200, 1000) },
  );
});

Deno.test("one register write executes at most a slice", () => {
  fc.assert(
    fc.property(fc.array(instruction, { minLength: 1, maxLength: 40 }), dword, (program, dsa) => {
      const { bench } = stage([(request) => request.offer([1, 2, 3]), (request) => request.end()]);
      bench.write32(Reg.DSA, dsa & 0x3fff);
      const at = bench.load(program);
      const before = bench.device.instructionsExecuted;
      bench.start(at);
      assertEquals(bench.device.instructionsExecuted - before <= SLICE, true);
    }),
    { numRuns: runs(300, 2000) },
  );
});
