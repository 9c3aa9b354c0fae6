/** SAM-5, chapter 8: which tasks wait for which, and what cancelled ones hold back. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { TaskAttribute, type TaskAttributeCode } from "../../../src/remote/scsi/scsi.ts";
import {
  type Exchange,
  mediumCdb,
  pattern,
  REQUEST_SENSE,
  rig,
  type RigOptions,
  TEST_UNIT_READY,
} from "./initiator.ts";

const { SIMPLE, ORDERED, HEAD_OF_QUEUE } = TaskAttribute;
const INQUIRY = [0x12, 0, 0, 0, 36, 0];

/** A slow disk, and what starts reads of single blocks on it: their LBA tells them apart in the trace. */
function slow(options: RigOptions = {}) {
  const made = rig({ deferred: true, ...options });
  made.drive.trace.length = 0;
  return {
    ...made,
    read: (lba: number, attribute: TaskAttributeCode = SIMPLE) =>
      made.initiator.start(mediumCdb[10](0x28, lba, 1), undefined, 0, attribute),
    write: (lba: number, seed: number, attribute: TaskAttributeCode = SIMPLE) =>
      made.initiator.start(mediumCdb[10](0x2a, lba, 1), pattern(512, seed), 0, attribute),
    /** The LBAs of the requests that have reached the image. */
    begun: () => made.drive.trace.map((line) => Number(line.split(" @ ")[1]) / 512),
  };
}

const statuses = (...exchanges: Exchange[]) => exchanges.map(({ status }) => status);

Deno.test("SIMPLE tasks are at work at the same time", () => {
  const { read, begun, drive } = slow();
  const exchanges = [read(0), read(1), read(2)];
  assertEquals(begun(), [0, 1, 2]);
  drive.complete(2);
  assertEquals(statuses(...exchanges), [undefined, undefined, 0]);
});

Deno.test("an ORDERED task begins when all older ones have ended, and later ones when it has", () => {
  const { read, begun, drive } = slow();
  read(0);
  read(1);
  read(2, ORDERED);
  read(3);
  read(4, ORDERED);
  assertEquals(begun(), [0, 1]);
  drive.complete(1);
  assertEquals(begun(), [0, 1]);
  drive.complete();
  assertEquals(begun(), [0, 1, 2]);
  drive.complete();
  assertEquals(begun(), [0, 1, 2, 3]);
  drive.complete();
  assertEquals(begun(), [0, 1, 2, 3, 4]);
});

Deno.test("a HEAD OF QUEUE task waits for nothing, and those that come after it wait", () => {
  const { read, begun, drive } = slow();
  read(0);
  read(1, ORDERED);
  read(2, HEAD_OF_QUEUE);
  read(3);
  assertEquals(begun(), [0, 2]);
  drive.complete(); // 0
  assertEquals(begun(), [0, 2], "an ORDERED task waits for HEAD OF QUEUE tasks");
  drive.complete(); // 2
  assertEquals(begun(), [0, 2, 1]);
  drive.complete();
  assertEquals(begun(), [0, 2, 1, 3]);
});

Deno.test("INQUIRY, TEST UNIT READY and REQUEST SENSE do not wait for ORDERED tasks", () => {
  const { read, initiator, begun, drive } = slow();
  read(0, ORDERED);
  read(1);
  for (const cdb of [INQUIRY, TEST_UNIT_READY, REQUEST_SENSE]) assertEquals(initiator.start(cdb).status, 0);
  assertEquals(begun(), [0]);
  drive.settle();
  assertEquals(begun(), [0, 1]);
});

Deno.test("an ORDERED task does not wait for ever behind failed ones that wait to report", () => {
  const { read, drive, requestSense } = slow();
  const failing = [read(0), read(1)];
  drive.failures.length = 0;
  drive.fail("read", "EIO");
  drive.fail("read", "EIO");
  const [third, fourth] = [read(2), read(3)];
  drive.settle();
  assertEquals(statuses(...failing, third, fourth), [0, 0, 2, undefined]);
  const ordered = read(4, ORDERED); // clears the sense data of the third, so that the fourth can report
  assertEquals(statuses(fourth), [2]);
  drive.settle();
  assertEquals(statuses(ordered), [0]);
  requestSense();
});

Deno.test("a task that is cancelled before it begins never begins, and holds back nobody", () => {
  const { read, begun, drive, disk } = slow();
  read(0);
  const ordered = read(1, ORDERED);
  const last = read(2);
  ordered.request!.cancel();
  assertEquals(begun(), [0, 2], "nothing is between the SIMPLE tasks any more");
  drive.settle();
  assertEquals([statuses(ordered, last), disk.tasks], [[undefined, 0], 0]);
});

Deno.test("what comes after a cancelled write waits until that has reached the medium, and lands on top", () => {
  const { write, drive, run } = slow();
  const first = write(7, 1);
  first.request!.cancel();
  const second = write(7, 2);
  assertEquals(drive.pending, 1, "the second is not on its way");
  assertEquals(run(TEST_UNIT_READY).status, 0);
  drive.settle();
  assertEquals(statuses(first, second), [undefined, 0]);
  assertEquals(drive.bytes.subarray(7 * 512, 8 * 512), pattern(512, 2));
});

Deno.test("after a bus reset, too, new writes wait for old ones that are on their way", () => {
  for (const attribute of [SIMPLE, ORDERED, HEAD_OF_QUEUE]) {
    const { write, drive, bus, initiator } = slow();
    write(7, 1);
    write(8, 1);
    bus.reset();
    initiator.start(TEST_UNIT_READY);
    const second = write(7, 2, attribute);
    drive.complete();
    assertEquals(drive.pending, 1);
    drive.settle();
    assertEquals(statuses(second), [0]);
    assertEquals(drive.bytes.subarray(7 * 512, 8 * 512), pattern(512, 2));
  }
});

Deno.test("a reset begins none of the tasks that waited", () => {
  const { read, begun, drive, bus, disk } = slow();
  read(0);
  read(1, ORDERED);
  read(2);
  bus.reset();
  drive.settle();
  assertEquals([begun(), disk.tasks], [[0], 0]);
});

Deno.test("whatever comes and in whatever order the image is done, tasks begin in an order that their attributes allow", () => {
  const attribute = fc.constantFrom(SIMPLE, SIMPLE, SIMPLE, ORDERED, HEAD_OF_QUEUE);
  const action = fc.oneof(
    attribute.map((attribute) => ({ kind: "start" as const, attribute })),
    fc.nat(8).map((place) => ({ kind: "complete" as const, place })),
    fc.nat(30).map((index) => ({ kind: "cancel" as const, index })),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const { read, begun, drive, disk } = slow({ size: 65536 });
      const tasks: { attribute: number; exchange: Exchange; cancelled: boolean }[] = [];
      for (const action of actions) {
        if (action.kind === "start") {
          const live = (task: typeof tasks[0]) => task.exchange.status === undefined && !task.cancelled;
          const older = tasks.filter(live);
          const lba = tasks.length;
          const before = begun().length;
          tasks.push({ attribute: action.attribute, exchange: read(lba, action.attribute), cancelled: false });
          const drains = tasks.some(({ cancelled }, i) => cancelled && drive.inFlight(512 * i));
          const waits = drains || (action.attribute === ORDERED && older.length > 0) ||
            (action.attribute === SIMPLE && older.some(({ attribute }) => attribute !== SIMPLE));
          assertEquals(begun().length > before, !waits);
        } else if (action.kind === "complete") {
          if (action.place < drive.pending) drive.complete(action.place);
        } else if (action.index < tasks.length && tasks[action.index].exchange.status === undefined) {
          tasks[action.index].exchange.request!.cancel();
          tasks[action.index].cancelled = true;
        }
      }
      drive.settle();
      assertEquals(disk.tasks, 0);
      for (const { exchange, cancelled } of tasks) assertEquals(exchange.status, cancelled ? undefined : 0);
      // An ORDERED task comes after all SIMPLE ones before it, and before all that come later.
      const order = begun();
      for (const [place, lba] of order.entries()) {
        if (tasks[lba].attribute !== ORDERED) continue;
        for (const [otherPlace, other] of order.entries()) {
          if (other === lba || tasks[other].attribute === HEAD_OF_QUEUE) continue;
          assertEquals(otherPlace < place, other < lba, `${other} beside ${lba} of ${order}`);
        }
      }
    }),
    { numRuns: 500 },
  );
});
