/**
 * The LSI53C895A under a hostile guest: an input is a sequence of register, SCRIPTS RAM, configuration and guest RAM
 * writes, of programs, of completions and failures of the disk behind it, of saved states with something changed in
 * them, and of time.
 *
 * @module
 */
import type { SavedState } from "../../../src/device/state.ts";
import { HIGH_RAM, RAM_BASE, REGISTERS_BASE } from "../../remote/lsi53c895a/harness.ts";
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Target } from "../engine/target.ts";
import { BenchMemory, LsiBench, RAM_SIZE } from "./lsi53c895a_bench.ts";
import { lsiDictionary, lsiSeeds } from "./lsi53c895a_seeds.ts";
import { LsiStep } from "./lsi53c895a_steps.ts";

/** Instructions that one call to the device may execute (scripts.ts, MAX_SLICE). */
const SLICE = 10_000;
/** Calls that a step may consist of, beside the timers' and those that move words into SCRIPTS RAM. */
const CALLS = 16;
/** An input that has had so many executed has shown what it can. */
const ENOUGH_INSTRUCTIONS = 20_000;

/** What a slice takes of the clock's time, in nanoseconds: SCRIPTS that always have something to do would stop it for ever otherwise. */
const SLICE_TIME = 1_000_000;

const Kind = { STEP: 0, RESULT: 1, INTERRUPT: 2, INSTRUCTION: 3, REGISTER: 4, WORK: 5, REFUSED: 6 } as const;

/** Where programs begin, and where DSP is pointed at. */
const PLACES = [
  RAM_BASE,
  RAM_BASE + 0x1ff8,
  0x4000,
  RAM_SIZE - 8,
  REGISTERS_BASE,
  REGISTERS_BASE + Reg.SCRATCHA,
  HIGH_RAM,
];

/** One input on its way through the device. */
class Run {
  readonly bench: LsiBench;
  readonly #input: ByteReader;
  readonly #features: Features;
  readonly #ram: Uint8Array;
  #kept: readonly SavedState[] | undefined;
  #timerCalls = 0;
  #state = 0;

  constructor(memory: BenchMemory, input: Uint8Array, features: Features) {
    this.bench = new LsiBench(memory, features);
    this.#input = new ByteReader(input);
    this.#features = features;
    this.#ram = memory.low.bytes;
    const { clock } = this.bench;
    const fire = clock.step.bind(clock);
    clock.step = () => {
      this.#timerCalls++;
      fire();
      clock.work(SLICE_TIME);
    };
  }

  perform(): void {
    while (!this.#input.done && this.bench.device.instructionsExecuted < ENOUGH_INSTRUCTIONS) this.#step();
    this.#features.hit(Kind.WORK, 32 - Math.clz32(this.bench.device.instructionsExecuted));
  }

  #step(): void {
    const step = this.#input.u8() % LsiStep.COUNT;
    const before = this.bench.device.instructionsExecuted;
    this.#timerCalls = 0;
    this.#carryOut(step);
    const executed = this.bench.device.instructionsExecuted - before;
    invariant(executed <= (CALLS + this.#timerCalls) * SLICE, `one step executed ${executed} instructions`);
    this.#note(step);
  }

  /** What the chip is like now, and was before. */
  #note(step: number): void {
    const register = (offset: number) => this.bench.register(offset);
    const phase = register(Reg.SBCL) & 7;
    const state = register(Reg.ISTAT0) & 0x2f | phase << 8 | Math.min(this.bench.device.commandsInFlight, 2) << 12;
    this.#features.hit(Kind.STEP, this.#state, state);
    this.#features.hit(Kind.RESULT, step, state);
    for (const status of [Reg.DSTAT, Reg.SIST0, Reg.SIST1]) {
      this.#features.hit(Kind.INTERRUPT, status, register(status));
    }
    this.#features.hit(Kind.INSTRUCTION, register(Reg.DCMD), phase);
    this.#state = state;
  }

  #carryOut(step: number): void {
    const { bench } = this;
    const input = this.#input;
    switch (step) {
      case LsiStep.WRITE_8:
        return this.#write(1, input.u8(), input.u8());
      case LsiStep.WRITE_16:
        return this.#write(2, input.u8(), input.u16());
      case LsiStep.WRITE_32:
        return this.#write(4, input.u8(), input.u32());
      case LsiStep.READ:
        return this.#read(input.pick([1, 2, 4] as const), input.u8());
      case LsiStep.LOAD:
        return bench.load(input.u16(), this.#dwords());
      case LsiStep.RUN:
        bench.load(0, this.#dwords());
        return this.#write(4, Reg.DSP, RAM_BASE);
      case LsiStep.RUN_IN_RAM:
        this.#toRam(0x4000, input.bytes(4 * (input.u8() & 0x3f)));
        return this.#write(4, Reg.DSP, 0x4000);
      case LsiStep.START:
        return this.#write(4, Reg.DSP, input.pick(PLACES) + (input.u8() & 0xfc));
      case LsiStep.GUEST_RAM:
        return this.#toRam(input.u16(), input.bytes(input.u8()));
      case LsiStep.CONFIG:
        return this.#writeConfig();
      case LsiStep.MAP:
        return bench.map();
      case LsiStep.TIME:
        return bench.clock.advance(input.u16() * 100);
      case LsiStep.COMPLETE:
        if (bench.drive.pending > 0) bench.drive.complete(input.u8() % bench.drive.pending);
        return;
      case LsiStep.FAIL:
        return bench.drive.fail(input.pick(["read", "write", "flush"]), input.pick(["EIO", "ENOSPC"]));
      case LsiStep.RESET:
        return bench.device.reset();
      case LsiStep.KEEP:
        this.#kept = bench.device.save();
        return;
      case LsiStep.RESTORE:
        return this.#restore();
    }
  }

  #write(size: 1 | 2 | 4, offset: number, value: number): void {
    this.#features.hit(Kind.REGISTER, offset, size);
    this.bench.device.writeBar(size === 2 ? 0 : 1, Math.min(offset, Reg.SIZE - size), size, value >>> 0);
  }

  #read(size: 1 | 2 | 4, offset: number): void {
    const value = this.bench.device.readBar(size === 2 ? 0 : 1, Math.min(offset, Reg.SIZE - size), size);
    invariant(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size), `a ${size}-byte read gave ${value}`);
  }

  #dwords(): number[] {
    return Array.from({ length: this.#input.u8() & 0x3f }, () => this.#input.u32());
  }

  #toRam(address: number, bytes: Uint8Array): void {
    this.#ram.set(bytes.subarray(0, RAM_SIZE - address), address);
  }

  #writeConfig(): void {
    const size = this.#input.pick([1, 2, 4] as const);
    this.bench.configWrite(Math.min(this.#input.u8(), 0x100 - size), size, this.#input.u32() % 2 ** (8 * size));
  }

  /**
   * Takes over a state that was saved, with some bytes changed: what is no state is refused, and all else has to be
   * lived with.
   */
  #restore(): void {
    const { device } = this.bench;
    const saved = structuredClone(this.#kept ?? device.save()) as SavedState[];
    for (let left = this.#input.u8() & 7; left > 0; left--) this.#spoil(saved[this.#input.u8() % saved.length]);
    try {
      device.restore(saved);
    } catch (error) {
      if (!(error instanceof TypeError) || !error.message.startsWith("Saved state")) throw error;
      this.#features.message(Kind.REFUSED, error.message);
    }
  }

  #spoil({ fields }: SavedState): void {
    const changed = fields as Record<string, unknown>;
    const name = this.#input.pick(Object.keys(changed));
    const value = changed[name];
    if (value instanceof Uint8Array) {
      value.set(this.#input.bytes(4).subarray(0, value.length), this.#input.u16() % (value.length - 3));
    } else if (typeof value === "boolean") changed[name] = this.#input.pick([false, true, "yes"]);
    else {changed[name] = this.#input.pick([
        0,
        1,
        0xff,
        0xffff,
        0xffffffff,
        -1,
        0.5,
        NaN,
        Infinity,
        this.#input.u32(),
        null,
      ]);}
  }
}

/** See the module. */
export function lsiTarget(): Target {
  const memory = new BenchMemory();
  return {
    name: "lsi53c895a",
    maxLength: 1024,
    dictionary: lsiDictionary(),
    seeds: lsiSeeds(),
    run(input, features) {
      const run = new Run(memory, input, features);
      run.perform();
      run.bench.checkAlive();
    },
  };
}
