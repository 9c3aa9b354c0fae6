/** Chip and disks together: many commands in flight to several slow disks, through a driver's SCRIPTS. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { PATIENCE_NS } from "../../../src/remote/lsi53c895a/patience.ts";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { ScsiDisk } from "../../../src/remote/scsi/disk.ts";
import { mediumCdb } from "../scsi/initiator.ts";
import { MemoryDevice, same } from "../scsi/memory_device.ts";
import { runs } from "../../support/runs.ts";
import { Bench } from "./harness.ts";
import { BUFFER_SIZE, QueueingDriver, TAGS } from "./queueing_driver.ts";

const TARGETS = 2;
const GOOD = 0, CHECK_CONDITION = 2;
/** The blocks that are read, and those that each command writes for itself. */
const READ_BLOCKS = 640;
const WRITE_BLOCKS = 600;
const COMMANDS = 40;

const IMAGE = Uint8Array.from({ length: READ_BLOCKS * 512 }, (_, i) => (i * 31) ^ (i >> 9));
const DATA = Uint8Array.from({ length: BUFFER_SIZE }, (_, i) => (i * 13) ^ (i >> 8) ^ 0x5a);

/** A command that a rig has issued. */
interface Issued {
  readonly target: number;
  readonly write: boolean;
  readonly lba: number;
  readonly blocks: number;
  ends: number;
  /** Reset or abort: it may or may not end. */
  dropped: boolean;
}

/** Two slow disks behind a chip, with a driver that checks what comes back. */
class Rig {
  readonly bench: Bench;
  readonly drives: MemoryDevice[] = [];
  readonly disks: ScsiDisk[] = [];
  readonly driver: QueueingDriver;
  readonly issued: Issued[] = [];
  readonly #byTag = new Map<number, Issued>();

  constructor() {
    const bus = new ParallelScsiBus();
    for (let id = 0; id < TARGETS; id++) {
      const drive = new MemoryDevice((READ_BLOCKS + COMMANDS * WRITE_BLOCKS) * 512, { deferred: true });
      drive.bytes.set(IMAGE);
      this.drives.push(drive);
      this.disks.push(new ScsiDisk(drive));
      bus.attach(id, 0, this.disks[id]);
    }
    this.bench = new Bench(bus);
    this.driver = new QueueingDriver(this.bench);
    for (let id = 0; id < TARGETS; id++) this.senseAll();
    this.settle();
  }

  /** Issues a READ or WRITE, if a tag is free. */
  issue(target: number, attribute: number, write: boolean, lba: number, blocks: number, segments: number): void {
    const tag = this.driver.freeTag();
    if (tag === undefined || this.issued.length === COMMANDS) return;
    if (write) lba = READ_BLOCKS + this.issued.length * WRITE_BLOCKS;
    else lba = Math.min(lba, READ_BLOCKS - blocks);
    const issued = { target, write, lba, blocks, ends: 0, dropped: false };
    this.issued.push(issued);
    this.#byTag.set(tag, issued);
    const length = blocks * 512;
    this.driver.buffer(tag).fill(0xee);
    if (write) this.driver.buffer(tag).set(DATA.subarray(issued.lba & 0xff, (issued.lba & 0xff) + length));
    const segment = Math.ceil(length / segments);
    const cdb = mediumCdb[10](write ? 0x2a : 0x28, lba, blocks);
    this.driver.queue(tag, { target, attribute, cdb, direction: write ? "out" : "in", length, segment });
  }

  /** REQUEST SENSE to every target: a failed command may be waiting to report. */
  senseAll(): void {
    for (let target = 0; target < TARGETS; target++) {
      const tag = this.driver.freeTag();
      if (tag === undefined) continue;
      const cdb = [0x03, 0, 0, 0, 18, 0];
      this.driver.queue(tag, { target, attribute: 0, cdb, direction: "in", length: 18, segment: 18 });
    }
  }

  abort(tag: number): void {
    const issued = this.#byTag.get(tag);
    if (issued === undefined || !this.driver.inFlight.has(tag)) return;
    issued.dropped = true;
    this.driver.abort(tag);
    this.bench.clock.advance(PATIENCE_NS);
    this.collect();
    this.driver.inFlight.delete(tag);
    this.#byTag.delete(tag);
  }

  reset(how: "bus" | "chip"): void {
    this.collect();
    for (const tag of this.driver.inFlight.keys()) {
      const issued = this.#byTag.get(tag);
      if (issued !== undefined) issued.dropped = true;
    }
    if (how === "bus") this.driver.resetBus();
    else this.driver.resetChip();
    this.#byTag.clear();
  }

  /** Takes what has ended, and checks it. */
  collect(): void {
    for (const { tag, status } of this.driver.ended()) {
      const issued = this.#byTag.get(tag);
      this.#byTag.delete(tag);
      if (issued === undefined) continue;
      issued.ends++;
      assert(status === GOOD || status === CHECK_CONDITION, `status ${status}`);
      if (status === GOOD) this.#check(issued, this.driver.buffer(tag));
    }
  }

  /** Lets everything end. */
  settle(): void {
    for (let turn = 0; this.driver.inFlight.size > 0; turn++) {
      assert(turn < 100, `${this.driver.inFlight.size} commands do not end`);
      for (const drive of this.drives) drive.settle();
      this.bench.clock.advance(10 * PATIENCE_NS);
      this.collect();
      if (turn % 3 === 2) this.senseAll();
    }
    for (const drive of this.drives) drive.settle();
  }

  #check({ target, write, lba, blocks }: Issued, buffer: Uint8Array): void {
    const length = blocks * 512;
    const image = this.drives[target].bytes.subarray(lba * 512, lba * 512 + length);
    if (write) assert(same(image, DATA.subarray(lba & 0xff, (lba & 0xff) + length)), "not all of a WRITE is there");
    else assert(same(image, buffer.subarray(0, length)), "a READ brought something else");
    assertEquals(buffer[length], 0xee & (write ? buffer[length] : 0xff), "a command went beyond its buffer");
  }
}

const blocks = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 40 }) }, fc.constantFrom(512, 513, 600));

const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("issue" as const),
      target: fc.nat(TARGETS - 1),
      attribute: fc.constantFrom(0, 0, 0, 1, 2),
      write: fc.boolean(),
      lba: fc.nat(READ_BLOCKS),
      blocks,
      segments: fc.integer({ min: 1, max: 16 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("complete" as const), target: fc.nat(TARGETS - 1), place: fc.nat(7) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("wait" as const), time: fc.constantFrom(0, 1, PATIENCE_NS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const), tag: fc.nat(TAGS - 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sense" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("fail" as const),
      target: fc.nat(TARGETS - 1),
      operation: fc.constantFrom("read", "write"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset" as const), how: fc.constantFrom("bus", "chip") }) },
);

Deno.test("whatever is issued, delayed, reordered, failed, aborted and reset, each command ends once with its data, or is gone", () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 10, maxLength: 80 }), (actions) => {
      const rig = new Rig();
      for (const action of actions) {
        if (action.kind === "issue") {
          const { target, attribute, write, lba, blocks, segments } = action;
          rig.issue(target, attribute, write, lba, blocks, segments);
        } else if (action.kind === "complete") {
          const drive = rig.drives[action.target];
          if (drive.pending > 0) drive.complete(action.place % drive.pending);
        } else if (action.kind === "wait") rig.bench.clock.advance(action.time);
        else if (action.kind === "abort") rig.abort(action.tag);
        else if (action.kind === "sense") rig.senseAll();
        else if (action.kind === "fail") rig.drives[action.target].fail(action.operation, "EIO");
        else rig.reset(action.how as "bus" | "chip");
        rig.collect();
      }
      for (const drive of rig.drives) drive.failures.length = 0;
      rig.settle();
      for (const { ends, dropped } of rig.issued) assert(dropped ? ends <= 1 : ends === 1, `ended ${ends} times`);
      for (const disk of rig.disks) assertEquals(disk.tasks, 0);
      assertEquals(rig.bench.device.commandsInFlight, 0);
    }),
    { numRuns: runs(100, 500) },
  );
});

Deno.test("a long read in the middle of others comes in pieces, over disconnections inside its segments", () => {
  const rig = new Rig();
  rig.issue(0, 0, false, 0, 600, 7);
  rig.issue(1, 0, false, 5, 1, 1);
  rig.bench.clock.advance(PATIENCE_NS);
  const [first, second] = rig.drives;
  assertEquals([first.pending, second.pending], [2, 1]);
  first.complete();
  rig.bench.clock.advance(PATIENCE_NS);
  second.complete();
  rig.collect();
  assertEquals(rig.issued.map(({ ends }) => ends), [0, 1]);
  rig.settle();
  assertEquals(rig.issued.map(({ ends }) => ends), [1, 1]);
});

Deno.test("a device that is closed while commands are in flight hears nothing of their end", () => {
  const rig = new Rig();
  rig.issue(0, 0, false, 0, 600, 2);
  rig.issue(1, 0, true, 0, 600, 2);
  rig.bench.device.close();
  const before = rig.bench.ram.slice();
  for (const drive of rig.drives) drive.settle();
  rig.bench.clock.advance(1e9);
  assertEquals(rig.disks.map(({ tasks }) => tasks), [0, 0]);
  assert(same(before, rig.bench.ram));
});

Deno.test("a PCI reset drops what is in flight, and its end touches no memory", () => {
  const rig = new Rig();
  rig.issue(0, 0, false, 0, 600, 2);
  rig.issue(1, 0, true, 0, 600, 2);
  rig.bench.device.reset();
  const before = rig.bench.ram.slice();
  for (const drive of rig.drives) drive.settle();
  rig.bench.clock.advance(1e9);
  assertEquals([rig.bench.device.commandsInFlight, ...rig.disks.map(({ tasks }) => tasks)], [0, 0, 0]);
  assert(same(before, rig.bench.ram));
});
