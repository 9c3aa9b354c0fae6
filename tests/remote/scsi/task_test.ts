import { assertEquals } from "@std/assert";
import type { ScsiInitiator } from "../../../src/remote/scsi/scsi.ts";
import type { Steps } from "../../../src/remote/scsi/steps.ts";
import { type Outcome, Task, type TaskOwner } from "../../../src/remote/scsi/task.ts";

const CDB = Uint8Array.of(0x28);

function initiator(dataReady: ScsiInitiator["dataReady"]): ScsiInitiator {
  return { dataReady, complete() {} };
}

function owner(): TaskOwner & { readonly calls: string[] } {
  const calls: string[] = [];
  return { calls, ended: () => calls.push("ended"), draining() {}, dropped: () => calls.push("dropped") };
}

Deno.test("however many chunks and block requests complete from within their calls, the stack does not grow", () => {
  const tasks = owner();
  let moved = 0;
  const task = new Task(
    tasks,
    initiator((request) => {
      moved++;
      request.resume();
    }),
    CDB,
    undefined,
  );
  function* command(): Steps<Outcome> {
    const chunk = new Uint8Array(1);
    task.expect("in", 100_000);
    for (let i = 0; i < 100_000; i++) {
      yield (done) => done();
      yield chunk;
    }
    return undefined;
  }
  task.run(command());
  assertEquals([moved, task.remaining, tasks.calls], [100_000, 0, ["ended"]]);
});

Deno.test("a wait that fails hands its error to the command", () => {
  const task = new Task(owner(), initiator(() => {}), CDB, undefined);
  const failure = new Error("the disk is on fire");
  let seen: Error | undefined;
  function* command(): Steps<Outcome> {
    seen = yield (done) => done(failure);
    return undefined;
  }
  task.run(command());
  assertEquals(seen, failure);
});

Deno.test("a cancelled command cleans up after itself once what it waits for is over, and not before", () => {
  const tasks = owner();
  const task = new Task(tasks, initiator(() => {}), CDB, undefined);
  let complete: (() => void) | undefined;
  function* command(): Steps<Outcome> {
    try {
      yield (done) => complete = done;
      tasks.calls.push("went on");
    } finally {
      tasks.calls.push("cleaned up");
    }
    return undefined;
  }
  task.run(command());
  task.cancel();
  assertEquals(tasks.calls, []);
  complete!();
  assertEquals(tasks.calls, ["cleaned up", "dropped"]);
});

Deno.test("resume without a chunk, and a second one, do nothing", () => {
  const tasks = owner();
  const task = new Task(tasks, initiator(() => {}), CDB, undefined);
  function* command(): Steps<Outcome> {
    yield* task.reply(new Uint8Array(4), 4);
    yield () => {}; // never
    return undefined;
  }
  task.resume();
  task.run(command());
  assertEquals([task.direction, task.chunk.length], ["in", 4]);
  task.resume();
  task.resume();
  assertEquals([task.chunk.length, tasks.calls], [0, []]);
});
