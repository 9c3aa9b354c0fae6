/**
 * An LSI53C895A with disks behind it for the fuzzer: guest RAM between guards, a clock that only the input moves, and
 * a bus that tells what reaches the targets.
 *
 * @module
 */
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { type Dma, GuestMemory } from "../../../src/device/guest_memory.ts";
import { Lsi53c895a } from "../../../src/remote/lsi53c895a/lsi53c895a.ts";
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { OperationCode } from "../../../src/remote/scsi/cdb.ts";
import { ScsiDisk } from "../../../src/remote/scsi/disk.ts";
import type { ScsiTarget } from "../../../src/remote/scsi/scsi.ts";
import { FakeClock, HIGH_RAM, IO_BASE, RAM_BASE, REGISTERS_BASE } from "../../remote/lsi53c895a/harness.ts";
import * as S from "../../remote/lsi53c895a/scripts_words.ts";
import { MemoryDevice } from "../../remote/scsi/memory_device.ts";
import { PlainShadow } from "../../support/plain_shadow.ts";
import type { Features } from "../engine/features.ts";
import { GuardedRegion } from "../engine/guarded_memory.ts";
import { invariant } from "../engine/target.ts";

/** Guest RAM from address 0; there is some more at {@linkcode HIGH_RAM}. */
export const RAM_SIZE = 0x10000;
const HIGH_RAM_SIZE = 0x1000;

/** 32 blocks: making the bench is what most inputs take their time for. */
const DISK_SIZE = 0x4000;

/** Where the register file lies in the chip's shadow: reading it there has no effect on the chip. */
const SHADOWED_REGISTERS = 0x100;

/** Kinds of features that the bench tells of; the target has others. */
const Kind = { DMA: 0x100, COMMAND: 0x101, WARNING: 0x102 } as const;

/** The memory of all benches, of which one is in use at a time. */
export class BenchMemory {
  readonly low = new GuardedRegion(0, RAM_SIZE);
  readonly high = new GuardedRegion(HIGH_RAM, HIGH_RAM_SIZE);
  readonly memory = new GuestMemory([this.low, this.high]);

  clear(): void {
    this.low.bytes.fill(0);
    this.high.bytes.fill(0);
  }

  check(): void {
    this.low.check();
    this.high.check();
  }
}

const KNOWN_COMMANDS: ReadonlySet<number> = new Set(Object.values(OperationCode));

/** The exponent of a length: what of it makes a difference. */
function magnitude(length: number): number {
  return 32 - Math.clz32(length);
}

/**
 * A controller, a disk at id 0 LUN 0 that completes requests when it is told to, and one at id 1 LUN 2 that does at
 * once.
 */
export class LsiBench {
  readonly clock = new FakeClock();
  readonly drive = new MemoryDevice(DISK_SIZE, { deferred: true });
  readonly device: Lsi53c895a;
  pin = false;
  readonly #shadow = new PlainShadow();
  readonly #memory: BenchMemory;
  readonly #features: Features;

  constructor(memory: BenchMemory, features: Features) {
    this.#memory = memory;
    this.#features = features;
    memory.clear();
    const bus = new ParallelScsiBus();
    bus.attach(0, 0, new ScsiDisk(this.drive));
    bus.attach(1, 2, new ScsiDisk(new MemoryDevice(DISK_SIZE)));
    const host = {
      shadow: this.#shadow.shadow,
      dma: this.#watched(memory.memory),
      interrupt: { set: (asserted: boolean) => void (this.pin = asserted) },
      clock: this.clock,
      warnOnce: (what: string) => features.message(Kind.WARNING, what),
    };
    this.device = new Lsi53c895a(host, { target: (id) => this.#target(id, bus.target(id)) });
    this.map();
  }

  /** A register's value, without what reading it would do. */
  register(offset: number): number {
    return this.#shadow.bytes[SHADOWED_REGISTERS + offset];
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

  /** Puts dwords into SCRIPTS RAM, round its end. */
  load(offset: number, dwords: readonly number[]): void {
    dwords.forEach((dword, i) => this.device.writeBar(2, (offset + 4 * i) & 0x1ffc, 4, dword));
  }

  /** Sets all back, and has the disk say what it is: whatever went before, that has to work. */
  checkAlive(): void {
    this.drive.failures.length = 0;
    this.device.reset();
    this.drive.settle();
    invariant(!this.pin, "the interrupt pin is high after a reset");
    invariant(this.device.commandsInFlight === 0, "a command is in flight after a reset");
    this.map();
    this.#inquire();
    this.#memory.check();
    this.device.close();
    invariant(this.clock.next === undefined, "a timer runs after the device was closed");
  }

  #inquire(): void {
    const { bytes } = this.#memory.low;
    bytes.set([0x80, 0, 0x12, 0, 0, 0, 36, 0], 0x100); // IDENTIFY; INQUIRY
    bytes.fill(0xff, 0x200, 0x300);
    this.load(
      0,
      [
        ...[S.select(0), S.move(S.MESSAGE_OUT, 1, 0x100), S.move(S.COMMAND, 6, 0x102), S.move(S.DATA_IN, 36, 0x200)],
        ...[
          S.move(S.STATUS, 1, 0x280),
          S.move(S.MESSAGE_IN, 1, 0x281),
          S.clear(S.ACK),
          S.waitDisconnect(),
          S.int(0x42),
        ],
      ].flat(),
    );
    this.device.writeBar(1, Reg.DSP, 4, RAM_BASE);
    invariant(this.device.readBar(1, Reg.DSPS, 4) === 0x42, "after a reset SCRIPTS do not come to their end");
    const vendor = String.fromCharCode(...bytes.subarray(0x208, 0x20f));
    invariant(vendor === "SPLITVM" && bytes[0x280] === 0, "after a reset a disk does not answer INQUIRY");
  }

  #watched(memory: GuestMemory): Dma {
    const note = (write: number, address: number, length: number, done: boolean) => {
      this.#features.hit(
        Kind.DMA,
        write * 2 + Number(done),
        magnitude(length),
        address < HIGH_RAM ? address >>> 30 : 9,
      );
      return done;
    };
    return {
      read: (address, into) => note(0, address, into.length, memory.read(address, into)),
      write: (address, from) => note(1, address, from.length, memory.write(address, from)),
    };
  }

  #target(id: number, target: ScsiTarget | undefined): ScsiTarget | undefined {
    return target && {
      start: (initiator, lun, cdb, tag, attribute) => {
        this.#features.hit(Kind.COMMAND, KNOWN_COMMANDS.has(cdb[0]) ? cdb[0] : 0x100 | cdb[0] >> 5, cdb.length);
        this.#features.hit(Kind.COMMAND, 0x200 | id, Math.min(lun, 8), attribute);
        return target.start(initiator, lun, cdb, tag, attribute);
      },
      reset: () => {
        this.#features.hit(Kind.COMMAND, 0x300, id);
        target.reset();
      },
    };
  }
}
