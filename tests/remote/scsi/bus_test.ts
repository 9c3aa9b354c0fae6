import { assertEquals, assertThrows } from "@std/assert";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { ScsiDisk } from "../../../src/remote/scsi/disk.ts";
import { rig, Sense, senseCode, TEST_UNIT_READY, TestInitiator } from "./initiator.ts";
import { MemoryDevice } from "./memory_device.ts";

const INQUIRY = [0x12, 0, 0, 0, 36, 0];
const READ_10 = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const REQUEST_SENSE = [0x03, 0, 0, 0, 252, 0];

function reportLuns(select = 0, allocationLength = 256): number[] {
  return [0xa0, 0, select, 0, 0, 0, 0, 0, allocationLength >> 8, allocationLength & 0xff, 0, 0];
}

function newDisk(): ScsiDisk {
  return new ScsiDisk(new MemoryDevice(65536));
}

Deno.test("a bus has targets where units were attached, and nothing elsewhere", () => {
  const bus = new ParallelScsiBus();
  bus.attach(0, 0, newDisk());
  bus.attach(15, 3, newDisk());
  for (let id = 0; id < 16; id++) assertEquals(bus.target(id) !== undefined, id === 0 || id === 15);
  assertEquals(bus.units().map(({ id, lun }) => [id, lun]), [[0, 0], [15, 3]]);
});

Deno.test("attaching refuses ids and LUNs that do not exist, the adapter's id, and a taken place, each by name", () => {
  const bus = new ParallelScsiBus();
  bus.attach(2, 1, newDisk());
  const cases: [id: number, lun: number, message: string][] = [
    [-1, 0, "scsi-id is 0 to 15, not -1"],
    [16, 0, "scsi-id is 0 to 15, not 16"],
    [1.5, 0, "scsi-id is 0 to 15, not 1.5"],
    [7, 0, "scsi-id 7 is the host adapter's own"],
    [1, 8, "lun is 0 to 7, not 8"],
    [2, 1, "scsi-id 2 lun 1 is taken"],
  ];
  for (const [id, lun, message] of cases) assertThrows(() => bus.attach(id, lun, newDisk()), RangeError, message);
  assertEquals(bus.units().length, 1);
});

Deno.test("SPC-4 6.6.2, INQUIRY to an absent LUN answers qualifier 011b and type 1fh", () => {
  const { run } = rig();
  const { status, data } = run(INQUIRY, undefined, 5);
  assertEquals([status, data.length, data[0]], [0, 36, 0x7f]);
  assertEquals(
    run([0x12, 1, 0x83, 0, 255, 0], undefined, 5).status,
    2,
    "there are no VPD pages of a unit that is not there",
  );
});

Deno.test("SPC-4 6.39, REQUEST SENSE to an absent LUN says LOGICAL UNIT NOT SUPPORTED", () => {
  const { requestSense } = rig();
  assertEquals(requestSense(5), Sense.LUN_NOT_SUPPORTED);
  assertEquals(requestSense(5), Sense.LUN_NOT_SUPPORTED);
});

Deno.test("every other command to an absent LUN ends with LOGICAL UNIT NOT SUPPORTED, after a reset too", () => {
  const { run, requestSense, bus } = rig();
  bus.target(0)!.reset();
  for (const cdb of [TEST_UNIT_READY, READ_10]) {
    assertEquals(run(cdb, undefined, 1).status, 2);
    assertEquals(requestSense(1), Sense.LUN_NOT_SUPPORTED);
  }
});

Deno.test("SPC-4 6.33, REPORT LUNS lists the target's units in order, asked of any LUN", () => {
  const { bus, run } = rig();
  bus.attach(0, 5, newDisk());
  bus.attach(0, 2, newDisk());
  bus.attach(1, 1, newDisk());
  for (const lun of [0, 2, 7]) {
    const { status, data } = run(reportLuns(), undefined, lun);
    assertEquals(status, 0);
    const expected = new Uint8Array(8 + 3 * 8);
    expected[3] = 24;
    [0, 2, 5].forEach((listed, i) => expected[8 + 8 * i + 1] = listed);
    assertEquals(data, expected);
  }
});

Deno.test("SPC-4 6.33, SELECT REPORT 01h lists well known units only, of which there are none; reserved values are refused", () => {
  const { good, sense } = rig();
  assertEquals(good(reportLuns(1)), new Uint8Array(8));
  assertEquals(good(reportLuns(2)).length, 16);
  assertEquals(sense(reportLuns(3)), Sense.INVALID_CDB_FIELD);
});

Deno.test("SPC-4 4.2.5.6, LUN LIST LENGTH does not depend on the allocation length", () => {
  const { good } = rig();
  assertEquals(good(reportLuns(0, 4)), Uint8Array.of(0, 0, 0, 8));
  assertEquals(good(reportLuns(0, 0)), new Uint8Array(0));
});

Deno.test("SAM-5 5.14, after power-on the first command is told of the reset, and only the first", () => {
  const bus = new ParallelScsiBus();
  bus.attach(3, 0, newDisk());
  const initiator = new TestInitiator(bus.target(3)!);
  assertEquals(initiator.start(READ_10).status, 2);
  assertEquals(senseCode(initiator.start(REQUEST_SENSE).data), Sense.RESET);
  assertEquals(initiator.start(READ_10).status, 0);
});

Deno.test("SAM-5 5.14, INQUIRY and REPORT LUNS are carried out and leave a unit attention pending", () => {
  const { bus, run, requestSense } = rig();
  bus.reset();
  assertEquals(run(INQUIRY).status, 0);
  assertEquals(run(reportLuns()).status, 0);
  assertEquals(run(TEST_UNIT_READY).status, 2);
  assertEquals(requestSense(), Sense.RESET);
});

Deno.test("SAM-5 5.14, REQUEST SENSE reports a unit attention with GOOD and clears it", () => {
  const { bus, run, requestSense } = rig();
  bus.reset();
  assertEquals(requestSense(), Sense.RESET);
  assertEquals(requestSense(), Sense.NONE);
  assertEquals(run(TEST_UNIT_READY).status, 0);
});

Deno.test("a unit attention comes before everything else that is wrong with a command", () => {
  const { bus, sense } = rig();
  bus.reset();
  assertEquals(sense([0xff, 0, 0, 0, 0, 0]), Sense.RESET);
});

Deno.test("a unit that joins a target is announced to the others, until REPORT LUNS has listed it", () => {
  const { bus, run, sense } = rig();
  bus.attach(0, 1, newDisk());
  assertEquals(sense(TEST_UNIT_READY), Sense.REPORTED_LUNS_CHANGED);
  bus.attach(0, 2, newDisk());
  run(reportLuns());
  assertEquals(run(TEST_UNIT_READY).status, 0);
});

Deno.test("SCSI-2 7.6, sense data wait for REQUEST SENSE, which clears them", () => {
  const { run, requestSense } = rig();
  run([0xff, 0, 0, 0, 0, 0]);
  assertEquals(requestSense(), Sense.INVALID_OPCODE);
  assertEquals(requestSense(), Sense.NONE);
});

Deno.test("SCSI-2 7.6, the next command other than REQUEST SENSE drops sense data", () => {
  for (const next of [TEST_UNIT_READY, INQUIRY, reportLuns()]) {
    const { run, requestSense } = rig();
    run([0xff, 0, 0, 0, 0, 0]);
    assertEquals(run(next).status, 0);
    assertEquals(requestSense(), Sense.NONE);
  }
});

Deno.test("a second failure is held back until the sense data of the first are fetched", () => {
  const { drive, initiator, requestSense } = rig({ deferred: true });
  drive.fail("read", "EIO");
  drive.fail("read", "ENOMEM");
  const a = initiator.start(READ_10);
  const b = initiator.start(READ_10);
  const c = initiator.start(READ_10);
  drive.settle();
  assertEquals([a.status, b.status, c.status], [2, undefined, 0]);
  assertEquals(requestSense(), Sense.IO_TERMINATED);
  assertEquals(b.status, 2);
  assertEquals(requestSense(), Sense.INTERNAL_FAILURE);
});

Deno.test("a failure that is held back reports when another command has dropped the first one's sense data", () => {
  const { drive, initiator, run, requestSense } = rig({ deferred: true });
  drive.fail("read", "EIO");
  drive.fail("read", "ENOMEM");
  const a = initiator.start(READ_10);
  const b = initiator.start(READ_10);
  drive.settle();
  assertEquals([a.status, b.status], [2, undefined]);
  assertEquals(run(TEST_UNIT_READY).status, 0);
  assertEquals(b.status, 2);
  assertEquals(requestSense(), Sense.INTERNAL_FAILURE);
});

Deno.test("a failure that is held back can be cancelled", () => {
  const { drive, disk, initiator, requestSense } = rig({ deferred: true });
  drive.fail("read", "EIO");
  drive.fail("read", "ENOMEM");
  initiator.start(READ_10);
  const b = initiator.start(READ_10);
  drive.settle();
  b.request!.cancel();
  assertEquals(disk.tasks, 0);
  assertEquals(requestSense(), Sense.IO_TERMINATED);
  assertEquals(requestSense(), Sense.NONE);
  assertEquals(b.status, undefined);
});

Deno.test("SPC-4 4.5.3, fixed format sense data have 18 bytes and say which field of the CDB was wrong", () => {
  const { run, initiator } = rig();
  run([0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0]); // RDPROTECT: byte 1, bit 7
  const { data } = initiator.start(REQUEST_SENSE);
  assertEquals(data.length, 18);
  assertEquals(data[7], 10);
  assertEquals([data[0], data[2], data[12], data[13]], [0x70, 0x05, 0x24, 0]);
  assertEquals([...data.subarray(15)], [0x80 | 0x40 | 0x08 | 7, 0, 1]); // SKSV, C/D, BPV
});

Deno.test("SPC-4 4.5.2, with DESC the same comes as descriptors", () => {
  const { run, initiator } = rig();
  run([0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0]);
  const { data } = initiator.start([0x03, 1, 0, 0, 252, 0]);
  assertEquals([...data], [0x72, 5, 0x24, 0, 0, 0, 0, 8, 2, 6, 0, 0, 0xcf, 0, 1, 0]);
});

Deno.test("SPC-4 4.5.2.2, only descriptor format has room for an LBA over 32 bits", () => {
  for (const [desc, expected] of [[0, 0x70], [1, 0x72]]) {
    const { run, initiator } = rig();
    run([0x88, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    const { data } = initiator.start([0x03, desc, 0, 0, 252, 0]);
    assertEquals(data[0], expected); // VALID clear in the fixed format
    if (desc === 1) assertEquals([...data.subarray(8)], [0, 10, 0x80, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
  }
});

Deno.test("REQUEST SENSE honours its allocation length", () => {
  const { run, initiator } = rig();
  run([0xff, 0, 0, 0, 0, 0]);
  assertEquals([...initiator.start([0x03, 0, 0, 0, 4, 0]).data], [0x70, 0, 5, 0]);
  assertEquals(initiator.start([0x03, 0, 0, 0, 0, 0]).status, 0);
});

Deno.test("SAM-5 5.3, more commands than the queue is deep end with TASK SET FULL, except REQUEST SENSE", () => {
  const { drive, disk, initiator, requestSense } = rig({ deferred: true, disk: { queueDepth: 3 } });
  const running = [1, 2, 3].map(() => initiator.start(READ_10));
  assertEquals(disk.tasks, 3);
  assertEquals(initiator.start(READ_10).status, 0x28);
  assertEquals(initiator.start(REQUEST_SENSE).status, 0);
  drive.settle();
  assertEquals(running.map(({ status }) => status), [0, 0, 0]);
  assertEquals(initiator.start(TEST_UNIT_READY).status, 0);
  assertEquals(requestSense(), Sense.NONE);
});

Deno.test("SAM-5 5.2, NACA is refused: the unit has no auto contingent allegiance", () => {
  const { sense } = rig();
  assertEquals(sense([0, 0, 0, 0, 0, 4]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4]), Sense.INVALID_CDB_FIELD);
});

Deno.test("a CDB shorter than its operation code needs is refused; bytes beyond the end are ignored", () => {
  const { run, sense } = rig();
  assertEquals(sense([0x28, 0, 0, 0, 0, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x00]), Sense.INVALID_CDB_FIELD);
  assertEquals(run([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).status, 0);
});

Deno.test("a command cancelled while the initiator moves data is gone at once", () => {
  const { disk, initiator } = rig();
  initiator.prompt = false;
  const exchange = initiator.start(READ_10);
  assertEquals([disk.tasks, initiator.waiting.length], [1, 1]);
  const request = initiator.waiting.pop()!;
  request.cancel();
  request.cancel();
  request.resume();
  assertEquals([disk.tasks, request.chunk.length, exchange.status], [0, 0, undefined]);
});

Deno.test("a command cancelled during a block request keeps its buffer until that completes, and says nothing more", () => {
  const { drive, disk, initiator } = rig({ deferred: true });
  // The image in memory asserts that the data do not change while the write is in flight.
  const first = initiator.start([0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0], new Uint8Array(4096).fill(1));
  first.request!.cancel();
  assertEquals(disk.tasks, 1);
  const second = initiator.start([0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0], new Uint8Array(4096).fill(2));
  drive.settle();
  assertEquals([disk.tasks, first.status, second.status], [0, undefined, 0]);
});

Deno.test("a command cancelled by the initiator from within dataReady is gone", () => {
  const { disk, bus } = rig();
  let status: number | undefined;
  bus.target(0)!.start(
    {
      dataReady: (request) => request.cancel(),
      complete: (_, ended) => status = ended,
    },
    0,
    Uint8Array.from(READ_10),
    undefined,
  );
  assertEquals([disk.tasks, status], [0, undefined]);
});

Deno.test("a reset drops commands and sense data, and puts mode pages, reservation and the stopped state back", () => {
  const { drive, bus, disk, initiator, run, requestSense } = rig({ deferred: true });
  run([0x1b, 0, 0, 0, 0, 0]); // STOP
  const modeSelect = [0x15, 0x10, 0, 0, 24, 0];
  const caching = new Uint8Array(24);
  caching.set([8, 18], 4);
  assertEquals(run(modeSelect, caching).status, 0); // WCE off
  run([0x1b, 0, 0, 0, 1, 0]);
  const dropped = initiator.start(READ_10);
  bus.target(0)!.reset();
  drive.settle();
  assertEquals([dropped.status, disk.tasks], [undefined, 0]);
  assertEquals(requestSense(), Sense.RESET);
  assertEquals(run(TEST_UNIT_READY).status, 0);
  assertEquals(run([0x1a, 8, 8, 0, 255, 0]).data[6] & 4, 4);
});

Deno.test("state moves to another bus by name: sense data, unit attention, mode pages, stopped", () => {
  const from = rig();
  from.bus.attach(1, 2, newDisk());
  const caching = new Uint8Array(24);
  caching.set([8, 18], 4);
  from.good([0x15, 0x10, 0, 0, 24, 0], caching);
  from.good([0x1b, 0, 0, 0, 0, 0]);
  from.run([0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0]);
  const saved = structuredClone(from.bus.save());

  const to = rig();
  to.bus.attach(1, 2, newDisk());
  to.bus.restore(saved.reverse());
  const { data } = to.run(REQUEST_SENSE);
  assertEquals(senseCode(data), Sense.NOT_READY_START_REQUIRED);
  assertEquals(to.good([0x1a, 8, 8, 0, 255, 0])[6] & 4, 0);
  assertEquals(to.run(TEST_UNIT_READY).status, 2);
  assertEquals(from.bus.save().find(({ name }) => name === "scsi-disk@0:0")?.fields.stopped, true);
});

Deno.test("state that does not fit the bus is refused", () => {
  const { bus } = rig();
  const saved = bus.save();
  assertThrows(() => bus.restore(saved.slice(1)), TypeError, "lacks scsi-task-set@0:0");
  assertThrows(() => bus.restore([...saved, { ...saved[0], name: "scsi-disk@4:0" }]), TypeError, "not on the bus");
});

Deno.test("saved sense data with an impossible LBA cannot make REQUEST SENSE fail", () => {
  for (const information of [NaN, -1, 0.5, Infinity, 2 ** 60]) {
    const { bus, run, initiator } = rig();
    run([0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0]);
    bus.restore(
      bus.save().map((record) =>
        "information" in record.fields ? { ...record, fields: { ...record.fields, information } } : record
      ),
    );
    const { status, data } = initiator.start([0x03, 1, 0, 0, 252, 0]);
    assertEquals([status, data.length], [0, 8]);
  }
});
