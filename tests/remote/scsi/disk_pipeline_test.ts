/** READ and WRITE over images that take their time: several chunks on their way at once. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Exchange, mediumCdb, pattern, rig, type RigOptions, Sense } from "./initiator.ts";
import { same } from "./memory_device.ts";

const READ = 0x28, WRITE = 0x2a, FUA = 0x08;
const CHUNK = 256 * 1024;
const CHUNK_BLOCKS = CHUNK / 512;

/** What the image holds, and what is written to it; making either takes longer than most tests. */
const HELD = pattern(8 * CHUNK);
const NEW = pattern(8 * CHUNK, 77);

function slow(options: RigOptions = {}) {
  const made = rig({ deferred: true, size: 8 * CHUNK, ...options });
  made.drive.bytes.set(HELD);
  made.drive.trace.length = 0;
  return made;
}

Deno.test("a long READ has four chunks on their way, and the next one when the initiator has moved one", () => {
  const { drive, initiator } = slow();
  initiator.prompt = false;
  const exchange = initiator.start(mediumCdb[10](READ, 0, 8 * CHUNK_BLOCKS));
  assertEquals(drive.trace, [0, 1, 2, 3].map((i) => `read ${CHUNK} @ ${i * CHUNK}`));
  drive.complete();
  drive.complete();
  assertEquals([drive.pending, initiator.waiting.length], [2, 1]);
  initiator.move();
  assertEquals([drive.pending, initiator.waiting.length], [3, 1], "the second is offered, the fifth begun");
  initiator.prompt = true;
  initiator.move();
  drive.settle();
  assertEquals([exchange.status, exchange.data.length], [0, 8 * CHUNK]);
  assertEquals(exchange.data, drive.bytes);
});

Deno.test("a long READ of an image that answers at once is not ahead of the initiator", () => {
  const { drive, initiator } = slow({ deferred: false });
  initiator.prompt = false;
  const exchange = initiator.start(mediumCdb[10](READ, 0, 3 * CHUNK_BLOCKS));
  for (let moved = 1; moved <= 3; moved++) {
    assertEquals([drive.trace.length, initiator.waiting.length], [moved, 1]);
    initiator.move();
  }
  assertEquals([exchange.status, drive.trace.length], [0, 3]);
  assertEquals(exchange.data, drive.bytes.subarray(0, 3 * CHUNK));
});

Deno.test("a WRITE takes four chunks before the first is written, and the next when one is", () => {
  const { drive, initiator } = slow();
  const data = NEW;
  const exchange = initiator.start(mediumCdb[10](WRITE, 0, 8 * CHUNK_BLOCKS), data);
  assertEquals([drive.pending, exchange.taken], [4, 4 * CHUNK]);
  drive.complete(2);
  assertEquals([drive.pending, exchange.taken], [4, 5 * CHUNK]);
  drive.settle();
  assertEquals([exchange.status, exchange.taken], [0, 8 * CHUNK]);
  assertEquals(drive.bytes, data);
});

Deno.test("in whatever order chunks complete, data come in theirs, and every chunk of a WRITE gets to its place", () => {
  const places = fc.array(fc.nat(3), { minLength: 12, maxLength: 12 });
  fc.assert(
    fc.property(places, fc.integer({ min: 1, max: 8 * CHUNK_BLOCKS }), fc.boolean(), (order, blocks, fua) => {
      const { drive, initiator } = slow();
      const flags = fua ? FUA : 0;
      const work = (exchange: Exchange) => {
        for (const place of order) if (drive.pending > 0) drive.complete(Math.min(place, drive.pending - 1));
        drive.settle();
        assertEquals(exchange.status, 0);
        return exchange;
      };
      const read = work(initiator.start(mediumCdb[10](READ, 0, blocks, flags)));
      assert(same(read.data, drive.bytes.subarray(0, blocks * 512)));
      const data = NEW.subarray(0, blocks * 512);
      work(initiator.start(mediumCdb[10](WRITE, 0, blocks, flags), data));
      assert(same(drive.bytes.subarray(0, blocks * 512), data));
      if (fua) assert(same(drive.stable.subarray(0, blocks * 512), data));
    }),
    { numRuns: 40 },
  );
});

Deno.test("sixty-four long transfers hold one chunk each and sixty-four more together", () => {
  const { drive, initiator, disk } = slow();
  const exchanges = Array.from({ length: 64 }, () => initiator.start(mediumCdb[10](READ, 0, 8 * CHUNK_BLOCKS)));
  assertEquals(drive.pending, 128);
  drive.settle();
  assertEquals(exchanges.map(({ status }) => status), new Array(64).fill(0));
  assertEquals(disk.tasks, 0);
});

Deno.test("a READ that fails sends what comes before, waits for what is on its way, and names the first block that failed", () => {
  const { drive, initiator, requestSense } = slow();
  drive.fail("read", "ENODATA", 2 * CHUNK);
  drive.fail("read", "ENODATA", 1 * CHUNK);
  const exchange = initiator.start(mediumCdb[10](READ, 0, 8 * CHUNK_BLOCKS));
  drive.complete(2);
  drive.complete(1);
  drive.complete(0);
  assertEquals([exchange.status, exchange.data.length], [undefined, CHUNK]);
  drive.complete();
  assertEquals([exchange.status, drive.trace.length], [2, 4], "no more were begun");
  const { data } = initiator.start([0x03, 0, 0, 0, 252, 0]);
  assertEquals(new DataView(data.buffer, data.byteOffset).getUint32(3), CHUNK_BLOCKS);
  assertEquals(requestSense(), Sense.NONE);
});

Deno.test("a WRITE that fails takes no more data, and ends when nothing is on its way any more", () => {
  const { drive, initiator, requestSense } = slow();
  drive.fail("write", "EIO", 0);
  const exchange = initiator.start(mediumCdb[10](WRITE, 0, 8 * CHUNK_BLOCKS), NEW);
  drive.complete();
  assertEquals([exchange.status, exchange.taken, drive.pending], [undefined, 4 * CHUNK, 3]);
  drive.settle();
  assertEquals([exchange.status, exchange.taken], [2, 4 * CHUNK]);
  assertEquals(requestSense(), Sense.IO_TERMINATED);
});

Deno.test("a chunk that the initiator is filling when another fails is dropped", () => {
  const { drive, initiator } = slow();
  initiator.prompt = false;
  drive.fail("write", "EIO", 0);
  const exchange = initiator.start(mediumCdb[10](WRITE, 0, 8 * CHUNK_BLOCKS), NEW);
  initiator.move();
  drive.complete();
  assertEquals([exchange.status, initiator.waiting.length], [undefined, 1]);
  initiator.move();
  assertEquals([exchange.status, drive.trace.length], [2, 1]);
});

Deno.test("a cancelled transfer keeps its buffers until nothing of it is in flight", () => {
  for (const operation of [READ, WRITE]) {
    const { drive, initiator, disk } = slow();
    const exchange = initiator.start(mediumCdb[10](operation, 0, 8 * CHUNK_BLOCKS), NEW);
    drive.complete();
    exchange.request!.cancel();
    assertEquals(exchange.request!.chunk.length, 0);
    while (drive.pending > 0) {
      assertEquals(disk.tasks, 1);
      drive.complete();
    }
    assertEquals([disk.tasks, exchange.status], [0, undefined]);
  }
});

Deno.test("a held chunk of a transfer is carried out again, the others meanwhile", () => {
  const retries: (() => void)[] = [];
  const hold = (retry: () => void) => {
    retries.push(retry);
    return { cancel() {} };
  };
  const { drive, initiator } = slow({ disk: { readErrors: "stop", writeErrors: "stop", hold } });
  for (const [operation, name] of [[READ, "read"], [WRITE, "write"]] as const) {
    drive.fail(name, "EIO", CHUNK);
    const data = NEW;
    const exchange = initiator.start(mediumCdb[10](operation, 0, 8 * CHUNK_BLOCKS), data);
    drive.settle();
    assertEquals([exchange.status, retries.length], [undefined, 1]);
    retries.pop()!();
    drive.settle();
    assertEquals(exchange.status, 0);
    assert(same(operation === READ ? exchange.data : data, drive.bytes));
  }
});

Deno.test("a transfer of many chunks to an image that is done at once does not grow the stack", () => {
  const { initiator, drive } = rig({ size: 128 * CHUNK });
  drive.bytes.fill(0xa5);
  let depth = 0;
  let deepest = 0;
  const dataReady = initiator.dataReady.bind(initiator);
  initiator.dataReady = (request) => {
    deepest = Math.max(deepest, ++depth);
    dataReady(request);
    depth--;
  };
  for (const operation of [0x88, 0x8a]) {
    const { status, data, taken } = initiator.start(mediumCdb[16](operation, 0, 128 * CHUNK_BLOCKS));
    assertEquals([status, data.length + taken], [0, 128 * CHUNK]);
  }
  assertEquals(deepest, 2);
});
