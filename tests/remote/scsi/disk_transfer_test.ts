import type { ScsiDiskOptions } from "../../../src/remote/scsi/disk.ts";
import { assert, assertEquals } from "@std/assert";
import { mediumCdb, pattern, rig, Sense } from "./initiator.ts";

/** READ, WRITE, VERIFY and WRITE AND VERIFY by CDB size. */
const READ = { 6: 0x08, 10: 0x28, 12: 0xa8, 16: 0x88 } as const;
const WRITE = { 6: 0x0a, 10: 0x2a, 12: 0xaa, 16: 0x8a } as const;
const VERIFY = { 10: 0x2f, 12: 0xaf, 16: 0x8f } as const;
const WRITE_AND_VERIFY = { 10: 0x2e, 12: 0xae, 16: 0x8e } as const;
const SIZES = [6, 10, 12, 16] as const;
const LONG = [10, 12, 16] as const;

const FUA = 0x08;
const BYTCHK = (value: number) => value << 1;

for (const deferred of [false, true]) {
  const how = deferred ? "a slow image" : "an image that answers at once";

  Deno.test(`SBC-3 5.11-5.13 and SCSI-2 9.2.5, READ (6) to (16) return the addressed blocks, from ${how}`, () => {
    const { drive, good } = rig({ deferred });
    drive.bytes.set(pattern(drive.size));
    for (const size of SIZES) {
      assertEquals(good(mediumCdb[size](READ[size], 3, 5)), drive.bytes.slice(3 * 512, 8 * 512), `READ (${size})`);
    }
  });

  Deno.test(`SBC-3 5.33-5.35 and SCSI-2 9.2.20, WRITE (6) to (16) change the addressed blocks only, on ${how}`, () => {
    const { drive, good } = rig({ deferred });
    const expected = new Uint8Array(drive.size);
    for (const size of SIZES) {
      const data = pattern(4 * 512, size);
      good(mediumCdb[size](WRITE[size], size * 8, 4), data);
      expected.set(data, size * 8 * 512);
      assertEquals(drive.bytes, expected, `WRITE (${size})`);
    }
  });

  Deno.test(`a transfer of 32 MiB goes in chunks of at most 256 KiB, with ${how}`, () => {
    const size = 32 * 1024 * 1024;
    const { drive, run } = rig({ deferred, size });
    const data = pattern(size);
    const written = run(mediumCdb[16](WRITE[16], 0, size / 512), data);
    assertEquals([written.status, written.taken], [0, size]);
    assertEquals(written.chunks, new Array(128).fill(256 * 1024));
    assert(drive.bytes.every((byte, i) => byte === data[i]));
    const read = run(mediumCdb[16](READ[16], 0, size / 512));
    assertEquals(read.chunks, new Array(128).fill(256 * 1024));
    assert(read.data.every((byte, i) => byte === data[i]));
  });
}

Deno.test("SCSI-2 9.2.5 and 9.2.20, a transfer length of zero in READ (6) and WRITE (6) means 256 blocks", () => {
  const { drive, run } = rig();
  drive.bytes.set(pattern(drive.size));
  assertEquals(run(mediumCdb[6](READ[6], 1, 0)).data, drive.bytes.slice(512, 257 * 512));
  assertEquals(run(mediumCdb[6](WRITE[6], 1, 0)).taken, 256 * 512);
});

Deno.test("READ (6) ignores the bits of byte 1 in which SCSI-1 and SCSI-2 initiators put the LUN", () => {
  const { drive, good } = rig();
  drive.bytes.set(pattern(drive.size));
  assertEquals(good([READ[6], 0xe0, 0, 2, 1, 0]), drive.bytes.slice(1024, 1536));
});

Deno.test("a transfer length of zero in the longer forms moves nothing and is no error", () => {
  const { drive, run } = rig();
  drive.trace.length = 0;
  for (const size of LONG) {
    for (const op of [READ[size], WRITE[size], VERIFY[size], WRITE_AND_VERIFY[size]]) {
      const { status, request, chunks } = run(mediumCdb[size](op, 0, 0));
      assertEquals([status, request!.direction, chunks], [0, "none", []]);
    }
  }
  assertEquals(drive.trace, []);
});

Deno.test("SBC-3 4.5, a range that passes the end of the medium is refused whole, with the first bad LBA as information", () => {
  const { drive, run, initiator } = rig(); // 2048 blocks
  drive.trace.length = 0;
  const cases: [cdb: number[], firstBad: number][] = [
    [mediumCdb[6](READ[6], 2047, 2), 2048],
    [mediumCdb[10](READ[10], 2048, 1), 2048],
    [mediumCdb[10](WRITE[10], 2040, 9), 2048],
    [mediumCdb[12](VERIFY[12], 0x80000000, 1), 0x80000000],
    [mediumCdb[16](WRITE_AND_VERIFY[16], 2047, 0x8000), 2048],
  ];
  for (const [cdb, firstBad] of cases) {
    assertEquals(run(cdb).status, 2);
    const { data } = initiator.start([0x03, 0, 0, 0, 252, 0]);
    assertEquals([data[2] & 0xf, data[12], data[13]], [5, 0x21, 0], `${cdb}`);
    assertEquals(data[0], 0xf0); // VALID
    assertEquals(new DataView(data.buffer).getUint32(3), firstBad, `${cdb}`);
  }
  assertEquals(drive.trace, []);
});

Deno.test("an LBA of 64 bits that no medium has is out of range", () => {
  const { sense } = rig();
  for (const op of [READ[16], WRITE[16], VERIFY[16]]) {
    assertEquals(sense([op, 0, ...new Array(8).fill(0xff), 0, 0, 0, 1, 0, 0]), Sense.LBA_OUT_OF_RANGE);
  }
});

Deno.test("SBC-3 6.6.3, more than the maximum transfer length is refused, for itself", () => {
  const { sense } = rig();
  const most = 256 * 1024 * 1024 / 512;
  assertEquals(sense(mediumCdb[16](READ[16], 0, most + 1)), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[12](WRITE[12], 0, most + 1)), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[16](READ[16], 0, most)), Sense.LBA_OUT_OF_RANGE);
});

Deno.test("a unit without protection information refuses RDPROTECT, WRPROTECT and VRPROTECT", () => {
  const { sense } = rig();
  for (const op of [READ[10], WRITE[10], VERIFY[10], WRITE_AND_VERIFY[10]]) {
    assertEquals(sense(mediumCdb[10](op, 0, 1, 0x20)), Sense.INVALID_CDB_FIELD);
  }
});

Deno.test("SBC-3 5.33, FUA: the write is on stable storage before the status", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  good(mediumCdb[10](WRITE[10], 0, 1, FUA));
  good(mediumCdb[10](WRITE[10], 1, 1));
  assertEquals(drive.trace, ["write+fua 512 @ 0", "write 512 @ 512"]);
});

Deno.test("FUA on a write of several chunks is one flush behind them", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  good(mediumCdb[10](WRITE[10], 0, 1024, FUA));
  assertEquals(drive.trace, ["write 262144 @ 0", "write 262144 @ 262144", "flush"]);
});

Deno.test("SBC-3 5.11, FUA: a read sees what the medium has, so a dirty cache is flushed first", () => {
  const { drive, good } = rig();
  drive.trace.length = 0;
  good(mediumCdb[10](READ[10], 0, 1, FUA));
  assertEquals(drive.trace, ["flush", "read 512 @ 0"]);
});

Deno.test("without a write cache every write is on stable storage before the status", () => {
  const { drive, good } = rig({ writeCache: false });
  drive.trace.length = 0;
  good(mediumCdb[6](WRITE[6], 0, 1));
  assertEquals(drive.trace, ["write+fua 512 @ 0"]);
});

Deno.test("a read-only drive refuses everything that writes, and takes no data for it", () => {
  const { run, requestSense } = rig({ readOnly: true });
  const cdbs = [
    mediumCdb[6](WRITE[6], 0, 1),
    ...LONG.flatMap((size) => [mediumCdb[size](WRITE[size], 0, 1), mediumCdb[size](WRITE_AND_VERIFY[size], 0, 1)]),
    mediumCdb[10](0x41, 0, 1),
    mediumCdb[16](0x93, 0, 1),
    [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
    [0x04, 0, 0, 0, 0, 0],
  ];
  for (const cdb of cdbs) {
    const { status, taken } = run(cdb);
    assertEquals([status, taken], [2, 0]);
    assertEquals(requestSense(), Sense.WRITE_PROTECTED, `operation ${cdb[0]}`);
  }
});

Deno.test("SBC-3 5.29-5.31, VERIFY with BYTCHK 00b reads the medium, not the cache, and moves no data", () => {
  const { drive, run } = rig();
  for (const size of LONG) {
    drive.trace.length = 0;
    const { status, request } = run(mediumCdb[size](VERIFY[size], 4, 2));
    assertEquals([status, request!.direction, drive.trace], [0, "none", ["flush", "read 1024 @ 2048"]]);
  }
});

Deno.test("VERIFY with BYTCHK 00b reports what cannot be read", () => {
  const { drive, sense } = rig();
  drive.fail("read", "EIO");
  assertEquals(sense(mediumCdb[10](VERIFY[10], 4, 2)), Sense.IO_TERMINATED);
});

for (const deferred of [false, true]) {
  Deno.test(`SBC-3 5.29-5.31, VERIFY with BYTCHK 01b compares every byte${deferred ? ", on a slow image" : ""}`, () => {
    const { drive, good, sense } = rig({ deferred });
    drive.bytes.set(pattern(drive.size));
    for (const size of LONG) {
      const data = drive.bytes.slice(512, 512 + 1000 * 512); // several halves of a buffer
      good(mediumCdb[size](VERIFY[size], 1, 1000, BYTCHK(1)), data);
      for (const at of [0, 511, 300_001, data.length - 1]) {
        data[at] ^= 1;
        assertEquals(sense(mediumCdb[size](VERIFY[size], 1, 1000, BYTCHK(1)), data), Sense.MISCOMPARE, `byte ${at}`);
        data[at] ^= 1;
      }
    }
  });
}

Deno.test("SBC-3 5.29-5.31, VERIFY with BYTCHK 11b compares every block with the one that was sent", () => {
  const { drive, run, requestSense } = rig();
  const block = pattern(512);
  for (let i = 0; i < 1000; i++) drive.bytes.set(block, i * 512);
  for (const size of LONG) {
    const same = run(mediumCdb[size](VERIFY[size], 0, 1000, BYTCHK(3)), block);
    assertEquals([same.status, same.taken], [0, 512]);
    assertEquals(run(mediumCdb[size](VERIFY[size], 0, 1001, BYTCHK(3)), block).status, 2);
    assertEquals(requestSense(), Sense.MISCOMPARE);
  }
});

Deno.test("the reserved BYTCHK values are refused", () => {
  const { sense } = rig();
  assertEquals(sense(mediumCdb[10](VERIFY[10], 0, 1, BYTCHK(2))), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[10](WRITE_AND_VERIFY[10], 0, 1, BYTCHK(2))), Sense.INVALID_CDB_FIELD);
  assertEquals(sense(mediumCdb[10](WRITE_AND_VERIFY[10], 0, 1, BYTCHK(3))), Sense.INVALID_CDB_FIELD);
});

Deno.test("SBC-3 5.37-5.39, WRITE AND VERIFY writes through and reads back", () => {
  const { drive, good } = rig();
  for (const size of LONG) {
    const data = pattern(1024, size);
    drive.trace.length = 0;
    good(mediumCdb[size](WRITE_AND_VERIFY[size], 2, 2, BYTCHK(1)), data);
    assertEquals(drive.trace, ["write+fua 1024 @ 1024", "read 1024 @ 1024"]);
    assertEquals(drive.bytes.slice(1024, 2048), data);
  }
});

Deno.test("failures of the host become sense data by their kind, with the LBA of the chunk", () => {
  const cases: [operation: string, code: string, sense: string][] = [
    ["read", "EIO", Sense.IO_TERMINATED],
    ["read", "ENODATA", Sense.READ_ERROR],
    ["read", "ENOMEM", Sense.INTERNAL_FAILURE],
    ["read", "EREMOTEIO", Sense.INTERNAL_FAILURE],
    ["read", "EINVAL", Sense.INVALID_CDB_FIELD],
    ["read", "ENOMEDIUM", Sense.NO_MEDIUM],
    ["write", "EIO", Sense.IO_TERMINATED],
    ["write", "ENODATA", Sense.WRITE_ERROR],
    ["write", "ENOSPC", Sense.SPACE_ALLOCATION_FAILED],
    ["write", "EDQUOT", Sense.SPACE_ALLOCATION_FAILED],
    ["write", "EROFS", Sense.WRITE_PROTECTED],
    ["write", "EBADF", Sense.IO_TERMINATED],
  ];
  for (const [operation, code, expected] of cases) {
    const { drive, sense } = rig();
    drive.fail(operation, code);
    const op = operation === "read" ? READ[10] : WRITE[10];
    assertEquals(sense(mediumCdb[10](op, 600, 8)), expected, `${operation} ${code}`);
    assertEquals(sense(mediumCdb[10](op, 4096, 8)), Sense.LBA_OUT_OF_RANGE, "the next command is judged afresh");
  }
});

Deno.test("a transfer that fails in a later chunk ends there and names that chunk's LBA", () => {
  const errors: string[] = [];
  const onBlockError: ScsiDiskOptions["onBlockError"] = ({ operation, action, error }) =>
    void errors.push(`${operation}: ${error.message}: ${action}`);
  const { drive, initiator, run } = rig({ deferred: true, disk: { onBlockError } });
  drive.fail("read", "ENODATA", 3 * 256 * 1024);
  const exchange = initiator.start(mediumCdb[10](READ[10], 0, 2000));
  drive.settle();
  assertEquals([exchange.status, exchange.data.length], [2, 3 * 256 * 1024]);
  const { data } = run([0x03, 0, 0, 0, 252, 0]);
  assertEquals([data[0], data[2] & 0xf], [0xf0, 3]);
  assertEquals(new DataView(data.buffer).getUint32(3), 3 * 512);
  assertEquals(errors, ["read: Cannot read the image: report"]);
});

Deno.test("blocks of 4096 bytes are addressed by their own number", () => {
  const { drive, good, sense } = rig({ disk: { logicalBlockSize: 4096 } });
  drive.bytes.set(pattern(drive.size));
  assertEquals(good(mediumCdb[10](READ[10], 255, 1)), drive.bytes.slice(255 * 4096));
  assertEquals(sense(mediumCdb[10](READ[10], 256, 1)), Sense.LBA_OUT_OF_RANGE);
});

Deno.test("the end of an image that fills no block is not part of the disk", () => {
  const { sense, disk } = rig({ size: 5 * 4096 + 512, disk: { logicalBlockSize: 4096 } });
  assertEquals(disk.blocks, 5);
  assertEquals(sense(mediumCdb[10](READ[10], 5, 1)), Sense.LBA_OUT_OF_RANGE);
});
