/**
 * SCSI disks under a hostile initiator: an input is a sequence of CDBs of any length with the data of their data-out
 * phases, moved chunks, completions and failures of the image, aborts and resets.
 *
 * @module
 */
import type { ScsiDisk } from "../../../src/remote/scsi/disk.ts";
import { OperationCode } from "../../../src/remote/scsi/cdb.ts";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { ScsiDisk as Disk } from "../../../src/remote/scsi/disk.ts";
import { TaskAttribute } from "../../../src/remote/scsi/scsi.ts";
import { type Exchange, REQUEST_SENSE, TestInitiator } from "../../remote/scsi/initiator.ts";
import { MemoryDevice } from "../../remote/scsi/memory_device.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, type Piece } from "../engine/byte_writer.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";
import { checkAmount, checkSense, SectorModel } from "./scsi_model.ts";

const Step = {
  COMMAND: 0,
  MOVE: 1,
  COMPLETE: 2,
  CANCEL: 3,
  FAIL: 4,
  RESET: 5,
  RESTORE: 6,
  SENSE: 7,
  COUNT: 8,
} as const;
const Kind = { STATUS: 0, SENSE: 1, DATA: 2, LOAD: 3, STEP: 4 } as const;

const DISK_SIZE = 0x4000;
const QUEUE_DEPTH = 8;
/** What a unit takes beyond its depth: REQUEST SENSE has places of its own. */
const MOST_TASKS = QUEUE_DEPTH + 8;

/** Disks that differ in what they allow. */
const DISKS = [
  {},
  { readOnly: true },
  { writeCache: false },
  { discardGranularity: 512 },
] as const;

/** Bits of an input's first byte; those below say which disk. */
const Trait = { PATTERN: 0x10, IN_PIECES: 0x20, DEFERRED: 0x40, LARGE_BLOCKS: 0x80 } as const;
/** In a command's byte: REQUEST SENSE follows at once where it ends with CHECK CONDITION. */
const ASK_FOR_SENSE = 0x40;

/** Sectors that differ from each other. */
const PATTERN = Uint8Array.from({ length: DISK_SIZE }, (_, i) => i * 7 + (i >> 9) * 13 + 1);

const CHECK_CONDITION = 2;

const KNOWN: ReadonlySet<number> = new Set(Object.values(OperationCode));
const READ = [OperationCode.READ_10, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/** One input on its way through a disk. */
class Run {
  readonly #input: ByteReader;
  readonly #features: Features;
  readonly #drive: MemoryDevice;
  readonly #disk: ScsiDisk;
  readonly #bus = new ParallelScsiBus();
  readonly #initiator: TestInitiator;
  readonly #started: Exchange[] = [];
  readonly #blockSize: number;
  /** Undefined where commands overlap, or end later than they are sent. */
  readonly #model: SectorModel | undefined;

  constructor(bytes: Uint8Array, features: Features) {
    this.#input = new ByteReader(bytes);
    this.#features = features;
    const kind = this.#input.u8();
    const deferred = (kind & Trait.DEFERRED) !== 0;
    this.#drive = new MemoryDevice(DISK_SIZE, { ...DISKS[kind % DISKS.length], deferred });
    if ((kind & Trait.PATTERN) !== 0) this.#drive.bytes.set(PATTERN);
    this.#blockSize = (kind & Trait.LARGE_BLOCKS) === 0 ? 512 : 4096;
    this.#disk = new Disk(this.#drive, { queueDepth: QUEUE_DEPTH, logicalBlockSize: this.#blockSize });
    this.#bus.attach(0, 0, this.#disk);
    this.#initiator = new TestInitiator(this.#bus.target(0)!);
    this.#initiator.prompt = (kind & Trait.IN_PIECES) === 0;
    if (this.#initiator.prompt && !deferred) this.#model = new SectorModel(this.#drive, this.#blockSize);
  }

  perform(): void {
    while (!this.#input.done) {
      const step = this.#input.u8() % Step.COUNT;
      this.#carryOut(step);
      invariant(this.#disk.tasks <= MOST_TASKS, `${this.#disk.tasks} tasks are in progress`);
      this.#features.hit(Kind.LOAD, this.#disk.tasks, Math.min(this.#drive.pending, 3), step);
    }
    for (const exchange of this.#started) this.#note(exchange);
  }

  /** Whatever went before: nothing is left after a reset, and what comes next is carried out. */
  checkAlive(): void {
    this.#drive.failures.length = 0;
    this.#bus.reset();
    this.#forget(() => true);
    this.#drive.settle();
    invariant(this.#disk.tasks === 0, "a task is left after a reset");
    this.#initiator.prompt = true;
    this.#finish(REQUEST_SENSE); // of the reset
    invariant(this.#finish(READ).status === 0, "after a reset the disk does not read");
  }

  #carryOut(step: number): void {
    const input = this.#input;
    switch (step) {
      case Step.COMMAND:
        return this.#start();
      case Step.MOVE:
        if (this.#initiator.waiting.length > 0) this.#initiator.move();
        return;
      case Step.COMPLETE:
        if (this.#drive.pending > 0) this.#drive.complete(input.u8() % this.#drive.pending);
        return;
      case Step.CANCEL:
        return this.#cancel(this.#started.at(-1 - input.u8()));
      case Step.FAIL:
        return this.#drive.fail(input.pick(["read", "write", "flush", "discard"]), input.pick(["EIO", "ENOSPC"]));
      case Step.RESET:
        this.#bus.reset();
        return this.#forget(() => true);
      case Step.RESTORE:
        return this.#bus.restore(this.#bus.save());
      case Step.SENSE:
        return void this.#started.push(this.#initiator.start(REQUEST_SENSE));
    }
  }

  #start(): void {
    const how = this.#input.u8();
    const cdb = this.#input.bytes(1 + (how & 0x0f));
    const out = this.#input.bytes(this.#input.u8());
    const lun = (how & 0x80) === 0 ? 0 : 3;
    const attributes = Object.values(TaskAttribute);
    const attribute = attributes[(how >> 4 & 3) % attributes.length];
    if (cdb.length === 0) return;
    const exchange = this.#initiator.start([...cdb], out, lun, attribute);
    this.#started.push(exchange);
    if (exchange.status !== undefined) this.#model?.check(exchange, cdbOf(exchange), out);
    if ((how & ASK_FOR_SENSE) !== 0 && exchange.status === CHECK_CONDITION) this.#askForSense(lun);
  }

  #askForSense(lun: number): void {
    const exchange = this.#initiator.start(REQUEST_SENSE, undefined, lun);
    this.#started.push(exchange);
    if (this.#model !== undefined) checkSense(exchange, cdbOf(exchange), true);
  }

  #cancel(exchange: Exchange | undefined): void {
    exchange?.request?.cancel();
    this.#forget((other) => other === exchange);
  }

  /** What was dropped is not moved any more: its adapter knows. */
  #forget(gone: (exchange: Exchange) => boolean): void {
    const kept = this.#initiator.waiting.filter((request) => !gone(request.tag as Exchange));
    this.#initiator.waiting.splice(0, this.#initiator.waiting.length, ...kept);
  }

  #finish(cdb: readonly number[]): Exchange {
    const exchange = this.#initiator.start(cdb);
    this.#drive.settle();
    invariant(exchange.status !== undefined, "a command has not ended");
    return exchange;
  }

  #note(exchange: Exchange): void {
    const { status, data, taken } = exchange;
    const cdb = cdbOf(exchange);
    checkAmount(exchange, cdb, this.#blockSize);
    if (cdb[0] === OperationCode.REQUEST_SENSE) checkSense(exchange, cdb, false);
    if (!KNOWN.has(cdb[0])) return this.#features.hit(Kind.STATUS, 0x100 | cdb[0] >> 5, status ?? 0x100);
    this.#features.hit(Kind.STATUS, cdb[0], status ?? 0x100);
    this.#features.hit(Kind.DATA, cdb[0], 32 - Math.clz32(data.length), 32 - Math.clz32(taken));
    if (cdb[0] === OperationCode.REQUEST_SENSE && data.length > 13) {
      this.#features.hit(Kind.SENSE, data[2], data[12], data[13]);
    }
    if (cdb[0] === OperationCode.INQUIRY || cdb[0] === OperationCode.MODE_SENSE_6) {
      this.#features.hit(Kind.STEP, cdb[0], cdb[2], data.length);
    }
  }
}

function cdbOf({ request }: Exchange): Uint8Array {
  return (request as unknown as { cdb: Uint8Array }).cdb;
}

function command(cdb: readonly number[], out: readonly number[] = []): number[] {
  return [Step.COMMAND, cdb.length - 1, ...cdb, out.length, ...out, Step.SENSE];
}

function seed(name: string, disk: number, ...pieces: readonly Piece[]): Seed {
  return { name, bytes: input(disk, ...pieces) };
}

/** Every command that a disk knows, as a driver sends it. */
function ordinary(): Seed[] {
  const lengths = [6, 10, 10, 6, 16, 12, 6, 6];
  return Object.entries(OperationCode).map(([name, code]) => {
    const cdb = new Array(lengths[code >> 5]).fill(0);
    cdb[0] = code;
    cdb[cdb.length - 2] = 1;
    return seed(name.toLowerCase().replaceAll("_", "-"), 0, command([]), command(cdb, new Array(64).fill(0)));
  });
}

/** Commands whose data-out phase has to be right for anything to happen. */
function withData(): Seed[] {
  const caching = [0x08, 18, 4, ...new Array(17).fill(0)];
  const header6 = [0, 0, 0, 0];
  const header10 = [0, 0, 0, 0, 0, 0, 0, 0];
  const block = new Array(255).fill(0);
  const unmapList = [0, 22, 0, 16, 0, 0, 0, 0, ...[0, 0, 0, 0, 0, 0, 0, 4], ...[0, 0, 0, 4], 0, 0, 0, 0];
  const rw10 = (code: number, flags: number) => [code, flags, 0, 0, 0, 2, 0, 0, 2, 0];
  const rw16 = (code: number, flags: number) => [code, flags, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0];
  const pages = [0x01, 0x03, 0x04, 0x08, 0x0a, 0x1c, 0x3f];
  const vital = [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2];
  return [
    seed("unmap", 3, command([]), command([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], unmapList), command(rw10(0x28, 0))),
    ...[0, Trait.LARGE_BLOCKS].map((blocks) =>
      seed(
        `written-and-read-${blocks === 0 ? 512 : 4096}`,
        Trait.PATTERN | blocks,
        command([]),
        ...[[0x0a, 0x08, 6, 4], [0x2a, 0x28, 10, 8], [0xaa, 0xa8, 12, 9], [0x8a, 0x88, 16, 13]].flatMap(
          ([write, read, length, blocksAt]) => {
            const cdb = (
              code: number,
            ) => [code, ...new Array(length - 1).fill(0).with(blocksAt - 1, 1)];
            return [command(cdb(write), new Array(200).fill(length)), command(cdb(read))];
          },
        ),
      )
    ),
    seed(
      "sense-at-once",
      0,
      ...[0xff, 0x28, 0x5a].map((code) => [Step.COMMAND, ASK_FOR_SENSE | 9, code, ...new Array(9).fill(0xff), 0]),
    ),
    seed(
      "write-same-and-unmap",
      3,
      command([]),
      command(rw10(0x41, 8), block),
      command(rw16(0x93, 9)),
      command(rw16(0x93, 0), block),
    ),
    seed(
      "mode-select",
      0,
      command([]),
      command([0x15, 0x10, 0, 0, 24, 0], [...header6, ...caching]),
      command([0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0], [...header10, ...caching]),
    ),
    seed(
      "mode-sense",
      0,
      command([]),
      ...pages.flatMap((page) => [0, 1, 2, 3].map((control) => command([0x1a, 0, control << 6 | page, 0, 255, 0]))),
    ),
    seed("inquiry-pages", 0, command([]), ...vital.map((page) => command([0x12, 1, page, 0, 255, 0]))),
    seed(
      "verify",
      0,
      command([]),
      command(rw10(0x2f, 2), block),
      command(rw10(0x2f, 6), block),
      command(rw16(0x8f, 0)),
      command(rw10(0x2e, 2), block),
    ),
    seed(
      "force-unit-access",
      2,
      command([]),
      command(rw10(0x2a, 8), block),
      command(rw10(0x28, 8)),
      command(rw16(0x8a, 0x18), block),
    ),
    seed(
      "format",
      0,
      command([]),
      command([0x04, 0, 0, 0, 0, 0]),
      command([0x04, 0x10, 0, 0, 0, 0], [0, 0, 0, 0]),
      command([0x04, 0x30, 0, 0, 0, 0], new Array(8).fill(0)),
    ),
    seed(
      "capacity",
      0,
      command([]),
      command([0x9e, 0x10, ...new Array(11).fill(0), 32, 0, 0]),
      command([0x9e, 0x12, ...new Array(11).fill(0), 32, 0, 0]),
    ),
    seed(
      "stopped",
      0,
      command([]),
      command([0x1b, 0, 0, 0, 0, 0]),
      command(READ),
      command([0x1b, 0, 0, 0, 1, 0]),
      command(READ),
    ),
    seed(
      "state-kept",
      0,
      command([]),
      command([0x15, 0x10, 0, 0, 24, 0], [...header6, ...caching]),
      Step.RESTORE,
      command(READ),
    ),
  ];
}

/** What has broken SCSI targets elsewhere, by the entries in the list of CVEs. */
function hostile(): Seed[] {
  const write = [OperationCode.WRITE_10, 0, 0, 0, 0, 0, 0, 0, 8, 0];
  return [
    // Page 0x3f of MODE SENSE and MODE SELECT stands for all pages, and indexed a table that ends with 0x3e.
    seed(
      "cve-2021-3930-mode-page-3f",
      0,
      command([]),
      command([0x5a, 0, 0x3f, 0xff, 0, 0, 0, 0xff, 0xff, 0]),
      command([0x15, 0x10, 0, 0, 8, 0], [0, 0, 0, 0, 0x3f, 2, 0, 0]),
    ),
    // Operation codes of reserved groups had no length, and the buffer was overrun.
    seed(
      "cve-2015-5158-reserved-groups",
      0,
      command([0x7f, ...new Array(15).fill(0xff)]),
      command([0xff, ...new Array(15).fill(0xff)]),
    ),
    // A block count and a block address whose sum overflows.
    seed(
      "transfer-beyond-the-end",
      0,
      command([]),
      command([0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    ),
    seed(
      "unmap-with-more-descriptors-than-data",
      3,
      command([]),
      command([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], [0, 0xff, 0xff, 0xff, 0, 0, 0, 0, ...new Array(16).fill(0xff)]),
    ),
    seed(
      "write-same-of-everything",
      0,
      command([]),
      command([0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    ),
    seed(
      "aborted-write-in-flight",
      0x60,
      command([]),
      command(write),
      Step.MOVE,
      Step.CANCEL,
      1,
      Step.COMPLETE,
      0,
      Step.COMPLETE,
      0,
    ),
    seed(
      "more-than-the-queue-holds",
      0x60,
      ...new Array(20).fill(command(READ)),
      Step.COMPLETE,
      0,
      Step.RESET,
      Step.COMPLETE,
      0,
    ),
  ];
}

/** See the module. */
export function scsiTarget(): Target {
  return {
    name: "scsi",
    maxLength: 512,
    dictionary: Object.values(OperationCode).map((code) => Uint8Array.of(Step.COMMAND, 15, code)),
    seeds: [...ordinary(), ...withData(), ...hostile()],
    run(bytes, features) {
      const run = new Run(bytes, features);
      run.perform();
      run.checkAlive();
    },
  };
}
