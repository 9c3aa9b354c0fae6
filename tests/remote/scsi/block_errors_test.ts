import { assertEquals } from "@std/assert";
import type { BlockErrorReport, HeldRequest } from "../../../src/remote/scsi/disk.ts";
import type { BlockErrorOptions } from "../../../src/remote/scsi/block_errors.ts";
import { mediumCdb, pattern, rig, Sense, TEST_UNIT_READY } from "./initiator.ts";
import type { MemoryDeviceOptions } from "./memory_device.ts";

const READ = 0x28, WRITE = 0x2a, VERIFY = 0x2f, SYNCHRONIZE_CACHE = 0x35, UNMAP = 0x42, WRITE_SAME = 0x41;

/** A disk whose errors are written down, and whose held requests wait for {@linkcode resume}. */
function policyRig(options: BlockErrorOptions = {}, device: MemoryDeviceOptions = {}) {
  const reports: string[] = [];
  const held = new Set<() => void>();
  const onBlockError = ({ operation, action, error }: BlockErrorReport) => {
    const { code } = error.cause as Error & { code: string };
    reports.push(`${operation} ${code}: ${action}`);
  };
  const hold = (retry: () => void): HeldRequest => {
    held.add(retry);
    return { cancel: () => void held.delete(retry) };
  };
  const made = rig({ ...device, disk: { onBlockError, hold, ...options } });
  made.drive.bytes.set(pattern(made.drive.size));
  return {
    ...made,
    reports,
    held,
    /** What the user's `cont` does. */
    resume() {
      const retries = [...held];
      held.clear();
      for (const retry of retries) retry();
    },
  };
}

Deno.test("by default, reads are reported, and of writes, flushes and unmaps all but a full host", () => {
  const { drive, sense, initiator, reports, held } = policyRig();
  drive.fail("read", "ENOSPC");
  assertEquals(sense(mediumCdb[10](READ, 0, 1)), Sense.SPACE_ALLOCATION_FAILED);
  drive.fail("write", "EIO");
  assertEquals(sense(mediumCdb[10](WRITE, 0, 1)), Sense.IO_TERMINATED);
  drive.fail("flush", "EIO");
  assertEquals(sense(mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0)), Sense.IO_TERMINATED);
  drive.fail("write", "ENOSPC");
  assertEquals(initiator.start(mediumCdb[10](WRITE, 0, 1)).status, undefined);
  assertEquals(held.size, 1);
  assertEquals(reports, ["read ENOSPC: report", "write EIO: report", "flush EIO: report", "write ENOSPC: stop"]);
});

Deno.test("rerror=ignore: what cannot be read is zeroes, and nothing of what the buffer held before", () => {
  const { drive, good, reports } = policyRig({ readErrors: "ignore" });
  good(mediumCdb[10](READ, 0, 2000)); // fills buffers
  drive.fail("read", "EIO");
  const data = good(mediumCdb[10](READ, 0, 1000));
  assertEquals(data.subarray(0, 256 * 1024), new Uint8Array(256 * 1024));
  assertEquals(data.subarray(256 * 1024), drive.bytes.subarray(256 * 1024, 512_000));
  assertEquals(reports, ["read EIO: ignore"]);
});

Deno.test("werror=ignore: writes, flushes, unmaps and WRITE SAME end with GOOD", () => {
  const { drive, good, reports } = policyRig({ writeErrors: "ignore" });
  for (const operation of ["write", "flush", "discard", "write"]) drive.fail(operation, "EIO");
  good(mediumCdb[10](WRITE, 0, 1));
  good(mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0));
  good([UNMAP, 0, 0, 0, 0, 0, 0, 0, 24, 0], Uint8Array.of(0, 22, 0, 16, ...new Array(15).fill(0), 1, 0, 0, 0, 0));
  good(mediumCdb[10](WRITE_SAME, 0, 1));
  assertEquals(reports, ["write EIO: ignore", "flush EIO: ignore", "discard EIO: ignore", "write EIO: ignore"]);
});

Deno.test("rerror=stop: a read is carried out again when the machine goes on, and then has its data", () => {
  for (const cdb of [mediumCdb[10](READ, 3, 1), mediumCdb[10](READ, 3, 1, 0x08)]) {
    const { drive, initiator, held, resume, reports } = policyRig({ readErrors: "stop" });
    drive.fail("read", "EIO");
    const exchange = initiator.start(cdb);
    assertEquals([exchange.status, held.size, reports], [undefined, 1, ["read EIO: stop"]]);
    resume();
    assertEquals([exchange.status, held.size], [0, 0]);
    assertEquals(exchange.data, drive.bytes.subarray(3 * 512, 4 * 512));
  }
});

Deno.test("werror=stop: every kind of write, a flush and the read of a VERIFY by their own policy", () => {
  const data = pattern(1024, 9);
  const commands: [failing: string, cdb: number[]][] = [
    ["write", mediumCdb[10](WRITE, 0, 2)],
    ["write", mediumCdb[10](WRITE, 0, 2, 0x08)],
    ["write", mediumCdb[10](0x2e, 0, 2)],
    ["write", mediumCdb[10](WRITE_SAME, 0, 2)],
    ["flush", mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0)],
    ["flush", [0x1b, 0, 0, 0, 0, 0]],
  ];
  for (const [failing, cdb] of commands) {
    const { drive, initiator, held, resume, sense, reports } = policyRig({ writeErrors: "stop" });
    drive.fail(failing, "EIO");
    const exchange = initiator.start(cdb, data);
    assertEquals([exchange.status, held.size], [undefined, 1], `${cdb}`);
    resume();
    assertEquals([exchange.status, reports], [0, [`${failing} EIO: stop`]]);
    if (cdb[0] === WRITE) assertEquals(drive.bytes.subarray(0, 1024), data);
    drive.fail("read", "EIO");
    if (cdb[0] !== 0x1b) assertEquals(sense(mediumCdb[10](VERIFY, 0, 1)), Sense.IO_TERMINATED);
  }
});

Deno.test("what fails again is held again, and told again", () => {
  const { drive, initiator, held, resume, reports } = policyRig({ writeErrors: "stop" });
  for (let i = 0; i < 3; i++) drive.fail("write", "ENOSPC");
  const exchange = initiator.start(mediumCdb[10](WRITE, 0, 1), pattern(512, 3));
  resume();
  resume();
  assertEquals([exchange.status, held.size, reports.length], [undefined, 1, 3]);
  resume();
  assertEquals([exchange.status, held.size], [0, 0]);
  assertEquals(drive.bytes.subarray(0, 512), pattern(512, 3));
});

Deno.test("while one request is held, others are carried out, and those that fail are held as well", () => {
  const { drive, initiator, held, resume } = policyRig({ writeErrors: "stop" });
  drive.fail("write", "ENOSPC");
  const first = initiator.start(mediumCdb[10](WRITE, 0, 1), pattern(512, 1));
  const second = initiator.start(mediumCdb[10](WRITE, 1, 1), pattern(512, 2));
  drive.fail("write", "ENOSPC");
  const third = initiator.start(mediumCdb[10](WRITE, 2, 1), pattern(512, 3));
  assertEquals([first.status, second.status, third.status, held.size], [undefined, 0, undefined, 2]);
  resume();
  assertEquals([first.status, third.status], [0, 0]);
  for (let i = 0; i < 3; i++) assertEquals(drive.bytes.subarray(512 * i, 512 * (i + 1)), pattern(512, i + 1));
});

Deno.test("a held request that is aborted is gone at once, whatever its command", () => {
  const commands: [failing: string, cdb: number[]][] = [
    ["read", mediumCdb[10](READ, 0, 2000)],
    ["write", mediumCdb[10](WRITE, 0, 2000)],
    ["read", mediumCdb[10](VERIFY, 0, 1)],
    ["flush", mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0)],
  ];
  for (const [failing, cdb] of commands) {
    const { drive, disk, initiator, held, good } = policyRig({ readErrors: "stop", writeErrors: "stop" });
    drive.fail(failing, "EIO");
    const exchange = initiator.start(cdb);
    assertEquals(held.size, 1);
    exchange.request!.cancel();
    assertEquals([held.size, disk.tasks], [0, 0]);
    good(TEST_UNIT_READY);
  }
});

Deno.test("a bus reset drops held requests, and the disk works on", () => {
  const { drive, disk, bus, initiator, held, run, good } = policyRig({ writeErrors: "stop" });
  for (let i = 0; i < 4; i++) drive.fail("write", "EIO");
  const exchanges = [0, 1, 2, 3].map((lba) => initiator.start(mediumCdb[10](WRITE, lba, 1)));
  assertEquals(held.size, 4);
  bus.reset();
  assertEquals([held.size, disk.tasks, exchanges.map(({ status }) => status)], [0, 0, new Array(4).fill(undefined)]);
  run(TEST_UNIT_READY);
  good(mediumCdb[10](WRITE, 0, 1));
});

Deno.test("where nobody can have the machine go on, what would stop is reported", () => {
  const { drive, sense, reports } = policyRig({ readErrors: "stop", writeErrors: "stop", hold: undefined });
  drive.fail("read", "EIO");
  assertEquals(sense(mediumCdb[10](READ, 0, 1)), Sense.IO_TERMINATED);
  drive.fail("write", "ENOSPC");
  assertEquals(sense(mediumCdb[10](WRITE, 0, 1)), Sense.SPACE_ALLOCATION_FAILED);
  assertEquals(reports, ["read EIO: report", "write ENOSPC: report"]);
});
