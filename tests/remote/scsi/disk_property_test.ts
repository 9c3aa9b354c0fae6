import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { cdbLength } from "../../../src/remote/scsi/scsi.ts";
import { u16be, u32be } from "../../../src/remote/scsi/cdb.ts";
import { runs } from "../../support/runs.ts";
import { type Exchange, rig, type RigOptions, TEST_UNIT_READY } from "./initiator.ts";

/** Operation codes with an allocation length, and where it is: bytes of it at an offset. */
const ALLOCATION_LENGTH: Readonly<Record<number, (cdb: Uint8Array) => number>> = {
  0x03: (cdb) => cdb[4],
  0x12: (cdb) => u16be(cdb, 3),
  0x1a: (cdb) => cdb[4],
  0x5a: (cdb) => u16be(cdb, 7),
  0x9e: (cdb) => u32be(cdb, 10),
  0xa0: (cdb) => u32be(cdb, 6),
};

/** Operation codes with a parameter list length. */
const LIST_LENGTH: Readonly<Record<number, (cdb: Uint8Array) => number>> = {
  0x04: (cdb) => ((cdb[1] & 0x10) === 0 ? 0 : (cdb[1] & 0x20) === 0 ? 4 : 8),
  0x15: (cdb) => cdb[4],
  0x42: (cdb) => u16be(cdb, 7),
  0x55: (cdb) => u16be(cdb, 7),
};

/** How many blocks the CDB's transfer length speaks of. */
function transferBlocks(cdb: Uint8Array): number {
  const length = cdbLength(cdb[0]);
  if (length === 6) return cdb[4] || 256;
  return length === 10 ? u16be(cdb, 7) : u32be(cdb, length === 12 ? 6 : 10);
}

/** The most bytes that a command may move. */
function mayMove(cdb: Uint8Array): number {
  const [operation, flags] = cdb;
  if (operation === 0x25) return 8;
  if (operation in ALLOCATION_LENGTH) return ALLOCATION_LENGTH[operation](cdb);
  if (operation in LIST_LENGTH) return LIST_LENGTH[operation](cdb);
  if ([0x41, 0x93].includes(operation)) return 512;
  const verify = [0x2f, 0x8f, 0xaf].includes(operation);
  if (verify && (flags & 0x06) === 0) return 0;
  if (verify && (flags & 0x06) === 0x06) return 512;
  return transferBlocks(cdb) * 512;
}

const byte = fc.integer({ min: 0, max: 255 });
/** Bytes that are mostly small, so that LBAs and lengths are often possible. */
const cdbByte = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(7) }, byte);
const cdbs = fc.tuple(byte, fc.array(cdbByte, { minLength: 15, maxLength: 15 })).map(([op, rest]) => [op, ...rest]);

function check(options: RigOptions, cdb: readonly number[], out: Uint8Array): Exchange {
  const { run, disk } = rig(options);
  const exchange = run(cdb, out);
  assert([0x00, 0x02].includes(exchange.status!), `status ${exchange.status}`);
  assert(exchange.data.length + exchange.taken <= mayMove(Uint8Array.from(cdb)), `CDB ${cdb} moved too much`);
  assertEquals(disk.tasks, 0);
  assertEquals(exchange.request!.chunk.length, 0);
  return exchange;
}

Deno.test("every operation code with all-zero and all-ones CDBs ends with a status", () => {
  for (let operation = 0; operation < 256; operation++) {
    for (const fill of [0x00, 0xff]) {
      check({ size: 65536 }, [operation, ...new Array(15).fill(fill)], new Uint8Array(0));
    }
  }
});

Deno.test("any CDB with any data ends with GOOD or CHECK CONDITION and moves no more than it asked for", () => {
  const options = fc.record({
    deferred: fc.boolean(),
    readOnly: fc.boolean(),
    writeCache: fc.boolean(),
  });
  fc.assert(
    fc.property(options, cdbs, fc.uint8Array({ maxLength: 64 }), (how, cdb, out) => {
      check({ ...how, size: 65536 }, cdb, out);
    }),
    { numRuns: runs(3000, 20000) },
  );
});

Deno.test("any sequence of commands, cancels, failures and resets leaves a unit that works and holds nothing", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: cdbs.map((cdb) => ({ kind: "start" as const, cdb })) },
    { weight: 3, arbitrary: fc.constant({ kind: "move" as const }) },
    { weight: 3, arbitrary: fc.constant({ kind: "complete" as const }) },
    { weight: 1, arbitrary: fc.nat(20).map((index) => ({ kind: "cancel" as const, index })) },
    { weight: 1, arbitrary: fc.constantFrom("read", "write").map((what) => ({ kind: "fail" as const, what })) },
    { weight: 1, arbitrary: fc.constant({ kind: "reset" as const }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { drive, disk, bus, initiator, run } = rig({ deferred: true, size: 65536, disk: { queueDepth: 8 } });
      initiator.prompt = false;
      const started: Exchange[] = [];
      /** What was dropped is not moved any more: its adapter knows. */
      const forget = (gone: (exchange: Exchange) => boolean) => {
        const kept = initiator.waiting.filter((request) => !gone(request.tag as Exchange));
        initiator.waiting.splice(0, initiator.waiting.length, ...kept);
      };
      for (const action of steps) {
        if (action.kind === "start") started.push(initiator.start(action.cdb));
        else if (action.kind === "move" && initiator.waiting.length > 0) initiator.move();
        else if (action.kind === "complete" && drive.pending > 0) drive.complete();
        else if (action.kind === "fail") drive.fail(action.what, "EIO");
        else if (action.kind === "reset") {
          bus.reset();
          forget(() => true);
        } else if (action.kind === "cancel" && action.index < started.length) {
          started[action.index].request!.cancel();
          forget((exchange) => exchange === started[action.index]);
        }
        assert(disk.tasks <= 8 + 8);
      }
      drive.failures.length = 0;
      bus.reset();
      forget(() => true);
      drive.settle();
      assertEquals(disk.tasks, 0);
      initiator.prompt = true;
      run(TEST_UNIT_READY);
      assertEquals(run([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]).status, 0);
    }),
    { numRuns: runs(400, 2000) },
  );
});
