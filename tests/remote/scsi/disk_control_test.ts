import { assertEquals } from "@std/assert";
import type { BlockCompletion } from "../../../src/block/block_device.ts";
import { ScsiDisk } from "../../../src/remote/scsi/disk.ts";
import { ParallelScsiBus } from "../../../src/remote/scsi/bus.ts";
import { be, mediumCdb, pattern, rig, Sense, TEST_UNIT_READY, TestInitiator } from "./initiator.ts";
import { MemoryDevice } from "./memory_device.ts";

const READ_CAPACITY_10 = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];

function readCapacity16(allocationLength = 32): number[] {
  return [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, ...be(allocationLength, 4), 0, 0];
}

/** An image of any size that nobody reads. */
class HugeDevice extends MemoryDevice {
  override readonly size: number;
  constructor(size: number) {
    super(512);
    this.size = size;
  }
  override read(_offset: number, _into: Uint8Array, done: BlockCompletion): void {
    done();
  }
}

Deno.test("SBC-3 5.15, READ CAPACITY (10) returns the last LBA and the block length", () => {
  assertEquals([...rig().good(READ_CAPACITY_10)], [...be(2047, 4), ...be(512, 4)]);
  const { good } = rig({ disk: { logicalBlockSize: 4096 } });
  assertEquals([...good(READ_CAPACITY_10)], [...be(255, 4), ...be(4096, 4)]);
});

Deno.test("READ CAPACITY (10) refuses an LBA without PMI, and takes one with it (SCSI-2 9.2.7)", () => {
  const { good, sense } = rig();
  assertEquals(sense([0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals([...good([0x25, 0, 0, 0, 0, 1, 0, 0, 1, 0])], [...be(2047, 4), ...be(512, 4)]);
});

Deno.test("SBC-3 5.16, READ CAPACITY (16) adds physical blocks and provisioning", () => {
  const { good } = rig({ disk: { logicalBlockSize: 512, physicalBlockSize: 4096 } });
  const data = good(readCapacity16());
  assertEquals([...data.subarray(0, 16)], [...be(2047, 8), ...be(512, 4), 0, 3, 0x80, 0]);
  assertEquals(data.length, 32);
  assertEquals(good(readCapacity16(12)), data.slice(0, 12));
  assertEquals(rig({ readOnly: true }).good(readCapacity16())[14], 0);
});

Deno.test("SBC-3 5.15, a capacity over 32 bits is all-ones in READ CAPACITY (10) and exact in (16)", () => {
  const bus = new ParallelScsiBus();
  const blocks = 2 ** 33;
  bus.attach(0, 0, new ScsiDisk(new HugeDevice(blocks * 512)));
  const initiator = new TestInitiator(bus.target(0)!);
  initiator.start(TEST_UNIT_READY);
  assertEquals([...initiator.start(READ_CAPACITY_10).data], [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
  assertEquals([...initiator.start(readCapacity16()).data.subarray(0, 8)], be(blocks - 1, 8));
  const descriptor = initiator.start([0x1a, 0, 8, 0, 255, 0]).data.subarray(4, 12);
  assertEquals([...descriptor], [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
  assertEquals(initiator.start(mediumCdb[16](0x88, blocks - 1, 1)).status, 0);
  assertEquals(initiator.start(mediumCdb[16](0x88, blocks, 1)).status, 2);
});

Deno.test("other service actions of SERVICE ACTION IN (16) are refused as a field, not as an operation code", () => {
  const { sense } = rig();
  for (const action of [0x00, 0x11, 0x12, 0x1f]) {
    assertEquals(sense([0x9e, action, ...new Array(14).fill(0)]), Sense.INVALID_CDB_FIELD);
  }
});

Deno.test("SBC-3 5.26 and 5.27, SYNCHRONIZE CACHE flushes the image before its status", () => {
  const { drive, initiator } = rig({ deferred: true });
  for (const cdb of [mediumCdb[10](0x35, 0, 0), mediumCdb[16](0x91, 5, 9), mediumCdb[10](0x35, 0, 0, 0x02)]) {
    drive.trace.length = 0;
    const exchange = initiator.start(cdb);
    assertEquals([drive.trace, exchange.status], [["flush"], undefined]);
    drive.settle();
    assertEquals(exchange.status, 0);
  }
});

Deno.test("SYNCHRONIZE CACHE checks its range and reports a flush that failed", () => {
  const { drive, sense } = rig();
  assertEquals(sense(mediumCdb[10](0x35, 2048, 1)), Sense.LBA_OUT_OF_RANGE);
  drive.fail("flush", "EIO");
  assertEquals(sense(mediumCdb[10](0x35, 0, 0)), Sense.IO_TERMINATED);
});

Deno.test("SBC-3 5.25, a stopped unit refuses what uses the medium until it is started", () => {
  const { drive, good, sense } = rig();
  drive.trace.length = 0;
  good([0x1b, 0, 0, 0, 0, 0]);
  assertEquals(drive.trace, ["flush"]);
  for (const cdb of [TEST_UNIT_READY, mediumCdb[10](0x28, 0, 1), mediumCdb[10](0x2a, 0, 1), READ_CAPACITY_10]) {
    assertEquals(sense(cdb), Sense.NOT_READY_START_REQUIRED, `operation ${cdb[0]}`);
  }
  assertEquals(good([0x12, 0, 0, 0, 36, 0]).length, 36);
  good([0x1b, 0, 0, 0, 1, 0]);
  good(TEST_UNIT_READY);
});

Deno.test("SBC-3 5.25, NO_FLUSH stops without a flush", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  good([0x1b, 0, 0, 0, 4, 0]);
  assertEquals(drive.trace, []);
});

Deno.test("START STOP UNIT refuses to eject, and power conditions that the unit does not have", () => {
  const { good, sense } = rig();
  assertEquals(sense([0x1b, 0, 0, 0, 2, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x1b, 0, 0, 0, 0x30, 0]), Sense.INVALID_CDB_FIELD);
  good(TEST_UNIT_READY);
});

Deno.test("a read-only drive is never flushed", () => {
  const { drive, good } = rig({ readOnly: true });
  good(mediumCdb[10](0x35, 0, 0));
  good([0x1b, 0, 0, 0, 0, 0]);
  good([0x1b, 0, 0, 0, 1, 0]);
  good(mediumCdb[10](0x28, 0, 1, 0x08)); // READ with FUA
  assertEquals(drive.trace, ["read 512 @ 0"]);
});

Deno.test("SCSI-2 9.2.11 and 9.2.12, RESERVE and RELEASE of the whole unit succeed; of third parties and extents not", () => {
  const { good, sense, bus } = rig();
  const reserved = () => bus.save().find(({ name }) => name === "scsi-disk@0:0")?.fields.reserved;
  for (const [reserve, release, rest] of [[0x16, 0x17, 5], [0x56, 0x57, 9]]) {
    const cdb = (op: number, flags: number) => [op, flags, ...new Array(rest - 1).fill(0)];
    good(cdb(reserve, 0));
    assertEquals(reserved(), true);
    good(cdb(release, 0));
    assertEquals(reserved(), false);
    for (const flags of [0x10, 0x01]) {
      assertEquals(sense(cdb(reserve, flags)), Sense.INVALID_CDB_FIELD);
      assertEquals(sense(cdb(release, flags)), Sense.INVALID_CDB_FIELD);
    }
  }
});

Deno.test("SBC-3 5.10, PREVENT ALLOW MEDIUM REMOVAL is accepted: the medium stays in any case", () => {
  const { good, sense } = rig();
  good([0x1e, 0, 0, 0, 1, 0]);
  good([0x1e, 0, 0, 0, 0, 0]);
  assertEquals(sense([0x1e, 0, 0, 0, 2, 0]), Sense.INVALID_CDB_FIELD);
});

Deno.test("SPC-4 6.42, SEND DIAGNOSTIC runs the default self-test and refuses others and diagnostic pages", () => {
  const { good, sense } = rig();
  good([0x1d, 0x04, 0, 0, 0, 0]);
  good([0x1d, 0x00, 0, 0, 0, 0]);
  assertEquals(sense([0x1d, 0x20, 0, 0, 0, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x1d, 0x10, 0, 0, 4, 0]), Sense.INVALID_CDB_FIELD);
});

Deno.test("SCSI-2 9.2.13 and 9.2.15, REZERO UNIT and SEEK succeed on the medium", () => {
  const { good, sense } = rig();
  good([0x01, 0, 0, 0, 0, 0]);
  good([0x0b, 0, 7, 0xff, 0, 0]);
  assertEquals(sense([0x0b, 0, 8, 0, 0, 0]), Sense.LBA_OUT_OF_RANGE);
  good([0x2b, 0, 0, 0, 7, 0xff, 0, 0, 0, 0]);
  assertEquals(sense([0x2b, 0, 0, 0, 8, 0, 0, 0, 0, 0]), Sense.LBA_OUT_OF_RANGE);
});

Deno.test("SBC-3 5.3, FORMAT UNIT with defaults succeeds and keeps the data", () => {
  const { drive, good } = rig();
  drive.bytes.set(pattern(drive.size));
  good([0x04, 0, 0, 0, 0, 0]);
  good([0x04, 0x10, 0, 0, 0, 0], Uint8Array.of(0, 0x82, 0, 0));
  good([0x04, 0x30, 0, 0, 0, 0], new Uint8Array(8));
  assertEquals(drive.bytes, pattern(drive.size));
});

Deno.test("SBC-3 5.3, FORMAT UNIT refuses protection, initialization patterns and defect lists", () => {
  const { sense } = rig();
  assertEquals(sense([0x04, 0x80, 0, 0, 0, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x04, 0x04, 0, 0, 0, 0]), Sense.INVALID_CDB_FIELD);
  for (const list of [[1, 0, 0, 0], [0, 0x88, 0, 0], [0, 0, 0, 8]]) {
    assertEquals(sense([0x04, 0x10, 0, 0, 0, 0], Uint8Array.from(list)), Sense.INVALID_PARAMETER, `${list}`);
  }
  assertEquals(sense([0x04, 0x30, 0, 0, 0, 0], Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 4)), Sense.INVALID_PARAMETER);
});

Deno.test("commands that the unit does not have end with INVALID COMMAND OPERATION CODE", () => {
  const { sense } = rig();
  for (const op of [0x02, 0x5e, 0x5f, 0x4d, 0x3b, 0x3c, 0x7f, 0xc0, 0xff]) {
    assertEquals(sense([op, ...new Array(15).fill(0)]), Sense.INVALID_OPCODE, `operation ${op}`);
  }
});
