/**
 * What a guest may do to the chip, at random: register, SCRIPTS RAM and config space accesses, SCRIPTS, resets, and
 * time that passes.
 *
 * @module
 */
import fc from "fast-check";
import { PciConfig } from "../../../src/device/config_space.ts";
import type { SavedState } from "../../../src/device/state.ts";
import { Ctest2, Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, type FakeRequest, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

const byte = fc.integer({ min: 0, max: 0xff });
export const dword = fc.integer({ min: 0, max: 0xffffffff });
const phase = fc.integer({ min: 0, max: 7 });
const count = fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: 0xffffff }));
const register = fc.oneof(
  byte,
  fc.constantFrom(Reg.ISTAT0, Reg.DSP + 3, Reg.SCNTL1, Reg.SIST0, Reg.DCNTL, Reg.STIME1),
  fc.constantFrom(
    Reg.DIEN,
    Reg.SIEN0,
    Reg.SIEN1,
    Reg.SCID,
    Reg.GPREG,
    Reg.GPCNTL,
    Reg.CTEST2,
    Reg.SCRATCHA,
    Reg.DBC,
    Reg.SOCL,
  ),
);
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

export const instruction = fc.oneof(
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

/** What follows a command that was sent: its data or none and its end, without and with a disconnection. */
const END = [
  S.move(S.STATUS, 1, 0x3008),
  S.move(S.MESSAGE_IN, 1, 0x3009),
  S.clear(S.ACK),
  S.waitDisconnect(),
  S.intfly(),
];
const WITH_DATA = [S.move(S.DATA_IN, 5, 0x2000), ...END];
const LET_GO = [S.move(S.MESSAGE_IN, 1, 0x3000), S.clear(S.ACK), S.waitDisconnect(), S.waitReselect(RAM_BASE)];
const RESELECTED = [S.move(S.MESSAGE_IN, 3, 0x3000), S.clear(S.ACK)];
const rest = fc.constantFrom(
  END,
  WITH_DATA,
  LET_GO,
  [...LET_GO, ...RESELECTED, ...END],
  [...LET_GO, ...RESELECTED, ...WITH_DATA],
);
/**
 * A command as drivers send it, which may end early, in something else. Its messages and CDB are those of {@linkcode
 * stage}.
 */
const command = fc.tuple(fc.constantFrom(0, 1, 3), rest, fc.nat(14), fc.array(instruction, { maxLength: 3 })).map((
  [id, rest, length, others],
) => [
  ...[S.select(id), S.move(S.MESSAGE_OUT, 3, 0), S.move(S.COMMAND, 6, 3), ...rest].slice(0, 2 + length),
  ...others,
  S.int(1),
]);

export type Act = (bench: Bench) => void;

/** What a bench's device was like at some time before. */
const kept = new WeakMap<Bench, readonly SavedState[]>();

const width = fc.constantFrom<1 | 2 | 4>(1, 2, 4);
export const act: fc.Arbitrary<Act> = fc.oneof(
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
  command.map((program): Act => (b) => b.run(program)),
  fc.tuple(fc.constantFrom(0, Ctest2.PCICIE), fc.constantFrom(0, 4, 8), dword).map(
    ([bases, bar, value]): Act => (b) => {
      b.write8(Reg.CTEST2, bases);
      b.configWrite(PciConfig.BAR0 + bar, 4, value);
    },
  ),
  // As a driver does that has all interrupts reported, and as its interrupt handler does.
  fc.constant<Act>((b) => [Reg.DIEN, Reg.SIEN0, Reg.SIEN1, Reg.SCID].forEach((mask) => b.write8(mask, 0xff))),
  fc.constant<Act>((b) => [Reg.ISTAT0, Reg.DSTAT, Reg.SIST0, Reg.SIST1].forEach((status) => b.read8(status))),
  fc.integer({ min: 0, max: 5_000_000 }).map((time): Act => (b) => {
    for (let spent = 0; spent < time; spent += 500_000) b.clock.advance(500_000);
  }),
  fc.tuple(fc.integer({ min: PciConfig.COMMAND, max: PciConfig.BAR0 + 11 }), byte).map(([at, value]): Act => (b) =>
    b.configWrite(at, 1, value)
  ),
  fc.constant<Act>((b) => b.map()),
  fc.constant<Act>((b) => b.device.reset()),
  fc.constant<Act>((b) => void kept.set(b, b.device.save())),
  fc.constant<Act>((b) => b.device.restore(kept.get(b) ?? b.device.save())),
);

/** What targets do with a command: at once, on the next step, or never. */
export const reply = fc.constantFrom(
  (request: FakeRequest) => request.offer([1, 2, 3, 4, 5]),
  (request: FakeRequest) => request.offer([0xff, 0xff, 0xff, 0xff]),
  (request: FakeRequest) => request.offer(new Uint8Array(70_000)),
  (request: FakeRequest) => request.ask(6),
  (request: FakeRequest) => request.end(),
  () => {},
);

/** A bench with three targets that take their replies from a list, and answer late for every other one. */
export function stage(replies: ((request: FakeRequest) => void)[]): { bench: Bench; late: (() => void)[] } {
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
