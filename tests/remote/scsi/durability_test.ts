/** What is still there after a power failure: everything that the initiator was told is. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { runs } from "../../support/runs.ts";
import { type Exchange, mediumCdb, pattern, rig, type RigOptions } from "./initiator.ts";

const WRITE = 0x2a, FUA = 0x08, SYNCHRONIZE_CACHE = 0x35, IMMED = 0x02;
const CHUNK = 256 * 1024;

/** Two megabytes of zeroes, slow. */
const slow = (options: RigOptions = {}) => rig({ deferred: true, size: 8 * CHUNK, ...options });

/** MODE SELECT (6) of the caching page. */
function modeSelect(writeCache: boolean): [cdb: number[], list: Uint8Array] {
  const list = new Uint8Array(4 + 20);
  list.set([0x08, 0x12, writeCache ? 0x04 : 0x00], 4);
  return [[0x15, 0x10, 0, 0, list.length, 0], list];
}

const LENGTHS = [1, 8, 512, 513, 4096];

Deno.test("without any of what follows, a write that has ended may be lost", () => {
  const { drive, good } = slow();
  good(mediumCdb[10](WRITE, 0, 1), pattern(512));
  assertEquals(drive.stable.subarray(0, 512), new Uint8Array(512));
});

Deno.test("SBC-3 5.34, a WRITE with FUA is there when it has ended, however long", () => {
  for (const blocks of LENGTHS) {
    for (const [size, op] of [[10, 0x2a], [12, 0xaa], [16, 0x8a]] as const) {
      const { drive, good } = slow();
      const data = pattern(512 * blocks, size);
      good(mediumCdb[size](op, 0, blocks, FUA), data);
      assertEquals(drive.stable.subarray(0, data.length), data);
    }
  }
});

Deno.test("SBC-3 6.5, with WCE off every WRITE and WRITE SAME is there when it has ended", () => {
  for (const blocks of LENGTHS) {
    const { drive, good } = slow();
    drive.bytes.fill(0xff);
    good(...modeSelect(false));
    const data = pattern(512 * blocks, 3);
    good(mediumCdb[10](WRITE, 0, blocks), data);
    assertEquals(drive.stable.subarray(0, data.length), data);
    good(mediumCdb[6](0x0a, 8, 2), data.subarray(0, 1024));
    good(mediumCdb[10](0x41, 10, 2), pattern(512, 7));
    assertEquals(drive.stable.subarray(5120, 6144), Uint8Array.of(...pattern(512, 7), ...pattern(512, 7)));
    good(mediumCdb[10](0x41, 10, 2), new Uint8Array(512));
    assertEquals(drive.stable.subarray(5120, 6144), new Uint8Array(1024));
  }
});

Deno.test("SBC-3 5.26, SYNCHRONIZE CACHE covers every write that has ended, with IMMED as well", () => {
  for (const flags of [0, IMMED]) {
    for (const cdb of [mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0, flags), mediumCdb[16](0x91, 5, 1, flags)]) {
      const { drive, good } = slow();
      const data = pattern(8 * CHUNK, 4);
      good(mediumCdb[10](WRITE, 0, data.length / 512), data);
      good(cdb);
      assertEquals(drive.stable, data);
    }
  }
});

Deno.test("MODE SELECT that switches the cache off, START STOP UNIT and WRITE AND VERIFY leave nothing in it", () => {
  const data = pattern(1024);
  for (const [cdb, list] of [modeSelect(false), [[0x1b, 0, 0, 0, 0, 0]], [mediumCdb[10](0x2e, 4, 2), data]] as const) {
    const { drive, good } = slow();
    good(mediumCdb[10](WRITE, 0, 2), data);
    good(cdb, list);
    const at = cdb[0] === 0x2e ? 4 * 512 : 0;
    assertEquals(drive.stable.subarray(at, at + 1024), data);
  }
});

Deno.test("a WRITE that was under way when the cache was switched off is there as well when it has ended", () => {
  for (const blocks of LENGTHS) {
    const { drive, initiator } = slow();
    const data = pattern(512 * blocks, 6);
    const write = initiator.start(mediumCdb[10](WRITE, 0, blocks), data);
    const select = initiator.start(...modeSelect(false));
    drive.complete(drive.pending - 1); // the flush, before the write
    assertEquals([select.status, write.status], [0, undefined]);
    drive.settle();
    assertEquals(write.status, 0);
    assertEquals(drive.stable.subarray(0, data.length), data);
  }
});

Deno.test("over an image without a volatile cache, every write is there", () => {
  const { drive, good } = slow({ writeCache: false });
  const data = pattern(4096 * 512);
  good(mediumCdb[10](WRITE, 0, 4096), data);
  assertEquals(drive.stable, data);
});

Deno.test("a flush that fails is told, and what it should have covered is not claimed", () => {
  const { drive, run, good } = slow();
  good(mediumCdb[10](WRITE, 0, 1), pattern(512));
  drive.fail("flush", "EIO");
  assertEquals(run(mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0)).status, 2);
  drive.fail("flush", "EIO");
  assertEquals(run(mediumCdb[10](WRITE, 0, 4096, FUA), pattern(4096 * 512)).status, 2);
});

/** What a random initiator does. */
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("write" as const), fua: fc.boolean(), blocks: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("sync" as const), attribute: fc.constantFrom(0, 0, 2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cache" as const), on: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("complete" as const), place: fc.nat(6) }) },
);

Deno.test("whatever is in flight with whatever, no promise is broken at any moment", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 50 }), (actions) => {
      const { drive, initiator } = rig({ deferred: true, size: 64 * 2048 });
      /** `through`: promised by FUA, or by a cache that was off when it was sent. */
      const writes: { exchange: Exchange; through: boolean; at: number; data: Uint8Array; synced: boolean }[] = [];
      const syncs: { exchange: Exchange; covers: typeof writes }[] = [];
      let select: { exchange: Exchange; on: boolean } | undefined;
      let cacheOff = false;
      const check = () => {
        if (select?.exchange.status === 0) {
          cacheOff = !select.on;
          select = undefined;
        }
        for (const sync of syncs) {
          if (sync.exchange.status === 0) {
            for (const write of sync.covers) write.synced = true;
          }
        }
        const stable = drive.stable;
        for (const { exchange, through, synced, at, data } of writes) {
          if (!synced && !(through && exchange.status === 0)) continue;
          assert(data.every((byte, i) => stable[at + i] === byte), "a promise was broken");
        }
      };
      for (const action of actions) {
        if (action.kind === "write") {
          const at = writes.length * 2048;
          const data = pattern(512 * (action.blocks + 1), writes.length + 1);
          const cdb = mediumCdb[10](WRITE, at / 512, action.blocks + 1, action.fua ? FUA : 0);
          const through = action.fua || (cacheOff && select === undefined);
          writes.push({ exchange: initiator.start(cdb, data), through, at, data, synced: false });
        } else if (action.kind === "sync") {
          const covers = action.attribute === 2 ? [...writes] : writes.filter(({ exchange }) => exchange.status === 0);
          const exchange = initiator.start(
            mediumCdb[10](SYNCHRONIZE_CACHE, 0, 0),
            undefined,
            0,
            action.attribute as 0 | 2,
          );
          syncs.push({ exchange, covers });
        } else if (action.kind === "cache") {
          select ??= { exchange: initiator.start(...modeSelect(action.on)), on: action.on };
        } else if (drive.pending > 0) drive.complete(action.place % drive.pending);
        check();
      }
      drive.settle();
      check();
    }),
    { numRuns: runs(300, 2000) },
  );
});
