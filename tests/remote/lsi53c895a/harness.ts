/**
 * An LSI53C895A on a bench: guest RAM, a clock that only the test moves, an interrupt pin that remembers, and targets
 * that do as the test says.
 *
 * @module
 */
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import type { Clock, DeviceHost, Timer } from "../../../src/device/pci_device.ts";
import { Lsi53c895a } from "../../../src/remote/lsi53c895a/lsi53c895a.ts";
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import {
  type DataDirection,
  type ScsiBus,
  type ScsiInitiator,
  type ScsiRequest,
  ScsiStatus,
  type ScsiTarget,
} from "../../../src/remote/scsi/scsi.ts";
import { PlainShadow } from "../../support/plain_shadow.ts";

/** Where the bench maps the BARs. */
export const IO_BASE = 0xc000;
export const REGISTERS_BASE = 0xfe000000;
export const RAM_BASE = 0xfe002000;

/** Guest RAM: 4 MiB from address 0, and 64 KiB above 4 GiB. */
export const RAM_SIZE = 0x400000;
export const HIGH_RAM = 0x100000000;

/** A clock that stands still until the test moves it. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #timers: FakeTimer[] = [];

  now(): number {
    return this.#now;
  }

  timer(callback: () => void): Timer {
    const timer = new FakeTimer(callback);
    this.#timers.push(timer);
    return timer;
  }

  /** Time passes while somebody is at work: no timer fires. */
  work(nanoseconds: number): void {
    this.#now += nanoseconds;
  }

  /** The earliest deadline. */
  get next(): number | undefined {
    const deadlines = this.#timers.flatMap((timer) => timer.deadline ?? []);
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  /** Fires the timers that are due now, once each. */
  step(): void {
    const due = this.#timers.filter((timer) => timer.deadline !== undefined && timer.deadline <= this.#now);
    for (const timer of due) timer.fire();
  }

  /** Lets time pass; timers fire when their time comes. */
  advance(nanoseconds: number): void {
    const end = this.#now + nanoseconds;
    for (let next = this.next; next !== undefined && next <= end; next = this.next) {
      this.#now = Math.max(this.#now, next);
      this.step();
    }
    this.#now = Math.max(this.#now, end);
  }
}

class FakeTimer implements Timer {
  deadline: number | undefined;
  readonly #callback: () => void;

  constructor(callback: () => void) {
    this.#callback = callback;
  }

  arm(deadline: number): void {
    this.deadline = deadline;
  }

  cancel(): void {
    this.deadline = undefined;
  }

  fire(): void {
    this.deadline = undefined;
    this.#callback();
  }
}

/** A command that a {@linkcode FakeTarget} has got. */
export class FakeRequest implements ScsiRequest {
  direction: DataDirection = "none";
  chunk = new Uint8Array(0);
  /** All bytes that the initiator has sent. */
  readonly received: number[] = [];
  cancelled = false;
  resumed = 0;
  readonly initiator: ScsiInitiator;
  readonly lun: number;
  readonly cdb: Uint8Array;
  readonly tag: unknown;
  readonly attribute: number | undefined;
  /** Bytes of the data phase that come after the chunk. */
  more = 0;
  #behaviour: Behaviour;

  constructor(start: Parameters<ScsiTarget["start"]>, behaviour: Behaviour) {
    [this.initiator, this.lun, this.cdb, this.tag, this.attribute] = start;
    this.cdb = this.cdb.slice();
    this.#behaviour = behaviour;
  }

  get remaining(): number {
    return this.chunk.length + this.more;
  }

  /** Offers bytes to the initiator. */
  offer(bytes: ArrayLike<number>): void {
    this.direction = "in";
    this.chunk = Uint8Array.from(bytes);
    this.initiator.dataReady(this);
  }

  /** Makes room for bytes from the initiator. */
  ask(count: number): void {
    this.direction = "out";
    this.chunk = new Uint8Array(count);
    this.initiator.dataReady(this);
  }

  end(status: number = ScsiStatus.GOOD): void {
    this.initiator.complete(this, status);
  }

  resume(): void {
    this.resumed++;
    if (this.direction === "out") this.received.push(...this.chunk);
    this.chunk = new Uint8Array(0);
    this.#behaviour.resume?.(this);
  }

  cancel(): void {
    this.cancelled = true;
    this.#behaviour.cancel?.(this);
  }
}

/** What a target does when a command comes, and when the initiator has moved a chunk. */
export interface Behaviour {
  start?(request: FakeRequest): void;
  resume?(request: FakeRequest): void;
  cancel?(request: FakeRequest): void;
}

/** A target that keeps what it gets, and does as it is told. */
export class FakeTarget implements ScsiTarget {
  readonly requests: FakeRequest[] = [];
  resets = 0;
  behaviour: Behaviour;

  constructor(behaviour: Behaviour = {}) {
    this.behaviour = behaviour;
  }

  start(...start: Parameters<ScsiTarget["start"]>): ScsiRequest {
    const request = new FakeRequest(start, this.behaviour);
    this.requests.push(request);
    this.behaviour.start?.(request);
    return request;
  }

  reset(): void {
    this.resets++;
  }

  /** The newest command. */
  get last(): FakeRequest {
    return this.requests[this.requests.length - 1];
  }
}

/** A target that answers every command at once with these bytes and GOOD. */
export function dataInTarget(bytes: ArrayLike<number>, status: number = ScsiStatus.GOOD): FakeTarget {
  return new FakeTarget({
    start: (request) => bytes.length > 0 ? request.offer(bytes) : request.end(status),
    resume: (request) => request.end(status),
  });
}

/** A target that takes this many bytes with every command and then answers GOOD. */
export function dataOutTarget(count: number): FakeTarget {
  return new FakeTarget({ start: (request) => request.ask(count), resume: (request) => request.end() });
}

/** A device on the bench. */
export class Bench {
  readonly clock = new FakeClock();
  readonly ram = new Uint8Array(RAM_SIZE);
  readonly highRam = new Uint8Array(0x10000);
  readonly memory = new GuestMemory([{ gpa: 0, bytes: this.ram }, { gpa: HIGH_RAM, bytes: this.highRam }]);
  readonly warnings: string[] = [];
  readonly targets = new Map<number, FakeTarget>();
  /** The level of the interrupt pin, and how often it rose. */
  pin = false;
  rises = 0;
  /** Called with each level that the device drives, before the bench takes it over. */
  pinDriven: (asserted: boolean) => void = () => {};
  readonly shadow = new PlainShadow();
  readonly device: Lsi53c895a;

  /** @param bus Takes the place of {@linkcode targets}. */
  constructor(bus: ScsiBus = { target: (id) => this.targets.get(id) }) {
    const host: DeviceHost = {
      shadow: this.shadow.shadow,
      dma: this.memory,
      interrupt: {
        set: (asserted) => {
          this.pinDriven(asserted);
          if (asserted && !this.pin) this.rises++;
          this.pin = asserted;
        },
      },
      clock: this.clock,
      warnOnce: (what) => this.warnings.push(what),
    };
    this.device = new Lsi53c895a(host, bus);
    this.map();
  }

  /** Programs the BARs and enables decoding and bus mastering, as firmware does. */
  map(): void {
    this.configWrite(PciConfig.BAR0, 4, IO_BASE);
    this.configWrite(PciConfig.BAR0 + 4, 4, REGISTERS_BASE);
    this.configWrite(PciConfig.BAR0 + 8, 4, RAM_BASE);
    this.configWrite(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  }

  configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    this.device.config.write(offset, size, value);
    this.device.configWritten(offset, size);
  }

  read8(register: number): number {
    return this.device.readBar(1, register, 1);
  }

  read16(register: number): number {
    return this.device.readBar(1, register, 2);
  }

  read32(register: number): number {
    return this.device.readBar(1, register, 4);
  }

  write8(register: number, value: number): void {
    this.device.writeBar(1, register, 1, value);
  }

  write32(register: number, value: number): void {
    this.device.writeBar(1, register, 4, value);
  }

  /** Puts dwords into guest RAM. */
  poke(address: number, ...dwords: number[]): void {
    const view = new DataView(this.ram.buffer);
    dwords.forEach((dword, i) => view.setUint32(address + 4 * i, dword, true));
  }

  /** A dword of guest RAM. */
  peek(address: number): number {
    return new DataView(this.ram.buffer).getUint32(address, true);
  }

  /** Puts a program into SCRIPTS RAM at `offset`. @returns Its PCI address. */
  load(program: readonly (readonly number[])[], offset = 0): number {
    program.flat().forEach((dword, i) => this.device.writeBar(2, offset + 4 * i, 4, dword));
    return RAM_BASE + offset;
  }

  /** Loads a program into SCRIPTS RAM and starts it. */
  run(program: readonly (readonly number[])[], offset = 0): void {
    this.start(this.load(program, offset));
  }

  /** Writes DSP. */
  start(address: number): void {
    this.write32(Reg.DSP, address);
  }
}
