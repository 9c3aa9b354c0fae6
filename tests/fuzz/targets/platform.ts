/**
 * The devices that the VMM itself has, under a hostile guest: an input is a sequence of port, memory and
 * configuration accesses, of descriptions of fw_cfg transfers, of characters that are typed, of resets and of time.
 *
 * The interrupt controllers and the timer are KVM's, and not among them.
 *
 * @module
 */
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import { Gsi, Port } from "../../../src/vmm/layout.ts";
import { Cmos, CmosState } from "../../../src/vmm/platform/cmos.ts";
import { FW_CFG_PORT_COUNT, FwCfg, FwCfgState } from "../../../src/vmm/platform/fw_cfg.ts";
import { FwCfgBuilder } from "../../../src/vmm/platform/fw_cfg_items.ts";
import { SerialPort, SerialState } from "../../../src/vmm/platform/serial.ts";
import { allocateChipset, attachChipset, configAddress, RecordingHost } from "../../vmm/support/q35.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, type Piece, u16, u32 } from "../engine/byte_writer.ts";
import type { Features } from "../engine/features.ts";
import { GuardedRegion } from "../engine/guarded_memory.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const Step = {
  READ: 0,
  WRITE: 1,
  READ_MEMORY: 2,
  WRITE_MEMORY: 3,
  CONFIG: 4,
  TIME: 5,
  GUEST_RAM: 6,
  FW_CFG_DMA: 7,
  TYPE: 8,
  RESET: 9,
  COUNT: 10,
} as const;

const Kind = { READ: 0, WRITE: 1, TIME: 2, HOST: 3, WARNING: 4, DMA: 5 } as const;

const RAM_SIZE = 0x4000;
const HIGH_BASE = 0x1_0000_0000;
const HIGH_SIZE = 0x1000;

/** Ports at which something is, with some of the neighbours. */
const PORTS: readonly (readonly [base: number, count: number])[] = [
  [Port.I8042_DATA, 1],
  [Port.I8042_COMMAND, 1],
  [Port.CMOS, 3],
  [Port.POST_CODE, 2],
  [Port.SYSTEM_CONTROL_A, 1],
  [Port.APM, 2],
  [Port.COM1, 9],
  [Port.DEBUG_CONSOLE, 1],
  [Port.DEBUG_EXIT, 4],
  [Port.FW_CFG_SELECTOR, FW_CFG_PORT_COUNT + 1],
  [Port.PM_BASE, 0x81],
  [Port.CONFIG_ADDRESS, 9],
  [0, 0x100],
  [0xff00, 0x100],
];

/** Addresses likewise: ECAM, the root complex registers, and the ends of the address space. */
const PLACES = [0xb0000000, 0xb00f8000, 0xfed1c000, 0xfed1f000, 0, 2 ** 52 - 0x10000];

/** Most deadlines that one step passes. */
const MOST_DEADLINES = 64;

const ITEM = new TextEncoder().encode("0123456789");

/** Guest RAM of all inputs, of which one is run at a time. */
class PlatformMemory {
  readonly low = new GuardedRegion(0, RAM_SIZE);
  readonly high = new GuardedRegion(HIGH_BASE, HIGH_SIZE);
  readonly memory = new GuestMemory([this.low, this.high]);
  readonly items = new FwCfgBuilder().item(0x02, ITEM).file("opt/fuzz", new Uint8Array(300).fill(0x55)).build();

  clear(): void {
    this.low.bytes.fill(0);
    this.high.bytes.fill(0);
  }

  check(): void {
    this.low.check();
    this.high.check();
  }
}

/** A machine without KVM. */
class Machine {
  readonly host = new RecordingHost();
  readonly chipset = attachChipset(allocateChipset(), this.host);
  readonly sent: number[] = [];
  readonly cmos = new Cmos({ state: CmosState.allocate(), host: this.host, gsi: Gsi.RTC });
  readonly serial = new SerialPort({
    state: SerialState.allocate(),
    host: this.host,
    gsi: Gsi.COM1,
    transmit: (byte) => this.sent.push(byte),
  });
  readonly fwCfg: FwCfg;

  constructor({ memory, items }: PlatformMemory) {
    this.fwCfg = new FwCfg({ state: FwCfgState.allocate(), host: this.host, memory, items });
    const { ports, intx } = this.chipset;
    ports.insert(Port.CMOS, 2, this.cmos);
    ports.insert(Port.COM1, 8, this.serial);
    ports.insert(Port.FW_CFG_SELECTOR, FW_CFG_PORT_COUNT, this.fwCfg);
    for (const slot of [1, 2, 25]) intx.connect({ slot, pin: 0 });
    this.cmos.powerOn(new Map());
    this.reset();
  }

  reset(): void {
    this.chipset.reset();
    for (const device of [this.cmos, this.serial, this.fwCfg]) device.reset();
  }

  /** Lets time pass; what is due happens. @returns how many deadlines there were. */
  advance(nanoseconds: number): number {
    const end = this.host.time + nanoseconds;
    const timed = [this.chipset.pm, this.cmos, this.serial];
    for (let passed = 0; passed < MOST_DEADLINES; passed++) {
      const next = Math.min(...timed.map((device) => device.nextDeadline() ?? Infinity));
      invariant(!Number.isNaN(next), "a deadline is no number");
      if (next > end) {
        this.host.time = end;
        return passed;
      }
      this.host.time = Math.max(this.host.time, next);
      for (const device of timed) device.expire(this.host.time);
    }
    return MOST_DEADLINES;
  }
}

/** One input on its way through a machine. */
class Run {
  readonly machine: Machine;
  readonly #memory: PlatformMemory;
  readonly #input: ByteReader;
  readonly #features: Features;

  constructor(memory: PlatformMemory, bytes: Uint8Array, features: Features) {
    memory.clear();
    this.#memory = memory;
    this.machine = new Machine(memory);
    this.#input = new ByteReader(bytes);
    this.#features = features;
  }

  perform(): void {
    while (!this.#input.done) this.#carryOut(this.#input.u8() % Step.COUNT);
    const { host } = this.machine;
    for (const gsi of host.high) invariant(gsi >= 0 && gsi < 24, `GSI ${gsi} was raised`);
    for (const status of host.exits) invariant(status >= 0 && status < 256, `the machine ended with ${status}`);
    for (const warning of host.warnings) this.#features.message(Kind.WARNING, warning);
    this.#features.hit(Kind.HOST, Number(host.resets > 0), Number(host.exits.length > 0), host.high.size);
  }

  /** A reset brings everything back. */
  checkAlive(): void {
    const { machine } = this;
    const { ports } = machine.chipset;
    machine.reset();
    invariant(machine.host.high.size === 0, "an interrupt line is high after a reset");
    machine.sent.length = 0;
    ports.write(Port.COM1, 1, 0x41);
    invariant(machine.sent.length === 1 && machine.sent[0] === 0x41, "after a reset the serial port does not send");
    ports.write(Port.FW_CFG_SELECTOR, 2, 0x02);
    invariant(ports.read(Port.FW_CFG_SELECTOR + 1, 1) === ITEM[0], "after a reset fw_cfg does not answer");
    ports.write(Port.CONFIG_ADDRESS, 4, configAddress(0, 0, 0));
    invariant(ports.read(Port.CONFIG_DATA, 2) === 0x8086, "after a reset the host bridge does not answer");
    this.#memory.check();
  }

  #carryOut(step: number): void {
    const input = this.#input;
    const { ports, memory } = this.machine.chipset;
    switch (step) {
      case Step.READ:
        return this.#read(Kind.READ, (size) => ports.read(this.#port(), size));
      case Step.WRITE:
        return ports.write(this.#port(), input.pick([1, 2, 4]), input.u32());
      case Step.READ_MEMORY:
        return this.#read(Kind.READ + 8, (size) => memory.read(input.pick(PLACES) + input.u16(), size));
      case Step.WRITE_MEMORY:
        return memory.write(input.pick(PLACES) + input.u16(), input.pick([1, 2, 4]), input.u32());
      case Step.CONFIG:
        return this.#config();
      case Step.TIME:
        return this.#features.count(Kind.TIME, this.machine.advance(input.u32() * input.pick([1, 100, 10_000])));
      case Step.GUEST_RAM: {
        const at = input.u16() % (RAM_SIZE - 0xff);
        return this.#memory.low.bytes.set(input.bytes(input.u8()), at);
      }
      case Step.FW_CFG_DMA:
        return this.#transfer();
      case Step.TYPE:
        return void this.machine.serial.receive(input.bytes(input.u8()));
      case Step.RESET:
        return this.machine.reset();
    }
  }

  #port(): number {
    const [base, count] = this.#input.pick(PORTS);
    const port = base + this.#input.u8() % count;
    this.#features.hit(Kind.WRITE, port);
    return port;
  }

  #read(kind: number, read: (size: number) => number): void {
    const size = this.#input.pick([1, 2, 4]);
    const value = read(size);
    invariant(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size), `a ${size}-byte read gave ${value}`);
    this.#features.hit(kind, size, value & 0xff);
  }

  #config(): void {
    const { ports } = this.machine.chipset;
    const [slot, register, size] = [this.#input.pick([0, 31, 1]), this.#input.u8(), this.#input.pick([1, 2, 4])];
    ports.write(Port.CONFIG_ADDRESS, 4, configAddress(slot, 0, register & 0xfc));
    ports.write(Port.CONFIG_DATA + (register & 3), size, this.#input.u32());
    this.#features.hit(Kind.WRITE, 0x10000 | slot << 8 | register);
  }

  /**
   * A transfer as the guest describes it in its RAM (docs/specs/fw_cfg.rst): big-endian control, length and address.
   */
  #transfer(): void {
    const input = this.#input;
    const { ports } = this.machine.chipset;
    const access = new DataView(new ArrayBuffer(16));
    const [control, at] = [input.u32(), input.u16()];
    access.setUint32(0, control);
    access.setUint32(4, input.u32());
    access.setUint32(8, input.u8() & 3);
    access.setUint32(12, input.u32());
    this.#memory.memory.write(at, new Uint8Array(access.buffer));
    const address = new DataView(new ArrayBuffer(4));
    address.setUint32(0, at, true);
    ports.write(Port.FW_CFG_DMA + 4, 4, address.getUint32(0));
    this.#features.hit(Kind.DMA, control & 0x1f, this.#memory.low.bytes[Math.min(at, RAM_SIZE - 4) + 3]);
  }
}

function seed(name: string, ...pieces: readonly Piece[]): Seed {
  return { name, bytes: input(...pieces) };
}

const portIndex = (port: number) => {
  const index = PORTS.findIndex(([base, count]) => port >= base && port < base + count);
  return [index, port - PORTS[index][0]];
};
const out = (port: number, value: number, size = 0) => [Step.WRITE, ...portIndex(port), size, ...u32(value)];
const inb = (port: number, size = 0) => [Step.READ, size, ...portIndex(port)];
const time = (nanoseconds: number) => [Step.TIME, ...u32(nanoseconds), 0];
const dma = (control: number, at: number, length: number, address: number) => [
  Step.FW_CFG_DMA,
  ...u32(control),
  ...u16(at),
  ...u32(length),
  address >= HIGH_BASE ? 1 : 0,
  ...u32(address),
];
const config = (slot: 0 | 1, register: number, value: number) => [Step.CONFIG, slot, register, 2, ...u32(value)];

function seeds(): Seed[] {
  const [READ, SKIP, SELECT, WRITE] = [0x02, 0x04, 0x08, 0x10];
  const cmos = (register: number, value: number) => [out(Port.CMOS, register), out(Port.CMOS + 1, value)].flat();
  const com = (register: number, value: number) => out(Port.COM1 + register, value);
  return [
    seed(
      "serial-port-as-drivers-set-it-up",
      com(3, 0x83),
      com(0, 1),
      com(1, 0),
      com(3, 3),
      com(2, 0xc7),
      com(4, 0x0b),
      com(1, 0x0f),
      [Step.TYPE, 5],
      "hello",
      inb(Port.COM1 + 2),
      inb(Port.COM1),
      time(1_000_000),
      inb(Port.COM1 + 5),
    ),
    seed("serial-port-in-loopback", com(4, 0x1f), com(2, 1), com(0, 0x55), inb(Port.COM1), inb(Port.COM1 + 6)),
    seed(
      "more-typed-than-read",
      com(2, 0x81),
      ...Array.from({ length: 20 }, () => [Step.TYPE, 255, ...new Array(255).fill(0x61)]),
    ),
    seed(
      "clock-with-periodic-interrupt",
      cmos(0x0a, 0x26),
      cmos(0x0b, 0x42),
      time(100_000_000),
      out(Port.CMOS, 0x0c),
      inb(Port.CMOS + 1),
      time(100_000_000),
    ),
    seed(
      "clock-with-alarm",
      cmos(0x01, 0xff),
      cmos(0x03, 0xff),
      cmos(0x05, 0xff),
      cmos(0x0b, 0x32),
      time(3_000_000_000),
      inb(Port.CMOS + 1),
    ),
    seed(
      "clock-that-is-set-to-nonsense",
      cmos(0x0b, 0x82),
      ...[0, 2, 4, 6, 7, 8, 9, 0x32].map((at) => cmos(at, 0xff)),
      cmos(0x0b, 0x02),
      time(4_000_000_000),
      out(Port.CMOS, 9),
      inb(Port.CMOS + 1),
    ),
    seed(
      "fw-cfg-by-bytes",
      out(Port.FW_CFG_SELECTOR, 0x19, 1),
      ...Array.from({ length: 20 }, () => inb(Port.FW_CFG_SELECTOR + 1)),
    ),
    seed(
      "fw-cfg-by-dma",
      dma(0x02 << 16 | SELECT | READ, 0x100, 16, 0x200),
      dma(SKIP, 0x100, 4, 0),
      dma(WRITE, 0x100, 4, 0x200),
    ),
    seed(
      "fw-cfg-dma-beyond-ram",
      dma(0x02 << 16 | SELECT | READ, 0x100, 0xffffffff, 0),
      dma(READ, RAM_SIZE - 4, 16, 0),
      dma(READ, 0x100, 16, HIGH_BASE + HIGH_SIZE - 8),
    ),
    // A transfer over its own description: what is read back then is the data.
    seed("fw-cfg-dma-onto-its-description", dma(0x02 << 16 | SELECT | READ, 0x100, 64, 0x0f8)),
    seed("fw-cfg-dma-in-high-ram", out(Port.FW_CFG_DMA, 0x01000000, 2), out(Port.FW_CFG_DMA + 4, 0, 2)),
    seed(
      "bases-moved",
      config(0, 0x60, 0xb0000001),
      config(1, 0x40, 0x601),
      config(1, 0x44, 0x80),
      config(1, 0xf0, 0xfed1c001),
      out(Port.PM_BASE, 0x400, 1),
      inb(Port.PM_BASE + 8, 2),
    ),
    seed(
      "power-management-block-over-other-ports",
      config(1, 0x40, Port.CONFIG_ADDRESS & 0xff80 | 1),
      config(1, 0x44, 0x80),
      out(Port.CONFIG_ADDRESS, 0xffffffff, 2),
      inb(Port.CONFIG_DATA, 2),
    ),
    seed("memory-window-over-everything", config(0, 0x60, 0x00000001), [Step.READ_MEMORY, 2, 4, ...u16(0x100)]),
    seed("interrupt-routing", config(1, 0x60, 0x0b0b0a0a), config(1, 0x68, 0x80808080)),
    seed("ways-to-reset", out(0xcf9, 2), out(0xcf9, 6), out(0x92, 1), out(0x64, 0xfe)),
    seed(
      "ways-to-end",
      out(Port.DEBUG_EXIT, 0xffffffff, 2),
      config(1, 0x40, 0x601),
      config(1, 0x44, 0x80),
      out(Port.PM_BASE + 4, 0x2000, 1),
    ),
    seed(
      "keyboard-controller",
      out(0x64, 0xaa),
      inb(0x60),
      out(0x64, 0x60),
      out(0x60, 0x47),
      out(0x64, 0xd1),
      out(0x60, 0xfe),
      out(0x60, 0xff),
      inb(0x60),
    ),
    seed(
      "debug-ports",
      out(Port.DEBUG_CONSOLE, 0x41),
      inb(Port.DEBUG_CONSOLE),
      out(Port.POST_CODE, 0x1ff, 1),
      inb(Port.POST_CODE, 1),
    ),
  ];
}

/** See the module. */
export function platformTarget(): Target {
  const memory = new PlatformMemory();
  return {
    name: "platform",
    maxLength: 1024,
    dictionary: PORTS.flatMap((_, index) => [Uint8Array.of(Step.WRITE, index), Uint8Array.of(Step.READ, 0, index)]),
    seeds: seeds(),
    run(bytes, features) {
      const run = new Run(memory, bytes, features);
      run.perform();
      run.checkAlive();
    },
  };
}
