import { assert, assertEquals } from "@std/assert";
import { type Completion, type Coroutine, run, waitFor } from "../../src/block/coroutine.ts";
import { Mutex, RangeLock } from "../../src/block/range_lock.ts";

/** Asks for a range, and notes the name when it is held. */
function ask(lock: RangeLock, held: string[], name: string, start: number, end: number, exclusive: boolean) {
  let release = () => {};
  run(lock.acquire(start, end, exclusive), (_, hold) => {
    held.push(name);
    if (hold !== undefined) release = () => lock.release(hold);
  });
  return { release: () => release() };
}

Deno.test("ranges are shared by readers, and held alone by a writer", () => {
  const lock = new RangeLock();
  const held: string[] = [];
  const first = ask(lock, held, "first", 0, 10, false);
  const second = ask(lock, held, "second", 5, 15, false);
  ask(lock, held, "writer", 8, 9, true);
  ask(lock, held, "elsewhere", 15, 20, true);
  assertEquals(held, ["first", "second", "elsewhere"]);
  first.release();
  assertEquals(held, ["first", "second", "elsewhere"]);
  second.release();
  assertEquals(held, ["first", "second", "elsewhere", "writer"]);
});

Deno.test("a writer that waits is not overtaken by readers that come later", () => {
  const lock = new RangeLock();
  const held: string[] = [];
  const reader = ask(lock, held, "reader", 0, 10, false);
  const writer = ask(lock, held, "writer", 0, 10, true);
  ask(lock, held, "late reader", 0, 1, false);
  assertEquals(lock.tryAcquire(5, 6, false), undefined);
  reader.release();
  assertEquals(held, ["reader", "writer"]);
  writer.release();
  assertEquals(held, ["reader", "writer", "late reader"]);
});

Deno.test("thousands that wait for a lock and end at once do not fill the stack", () => {
  const lock = new RangeLock();
  const mutex = new Mutex();
  let ended = 0;
  function* body(): Coroutine<void> {
    const hold = yield* lock.acquire(0, 1, true);
    yield* mutex.hold(function* () {
      yield* waitFor((done) => done());
      ended++;
    });
    lock.release(hold);
  }
  const first = lock.tryAcquire(0, 1, true);
  for (let i = 0; i < 5000; i++) run(body(), () => {});
  assert(first !== undefined);
  if (first !== undefined) lock.release(first);
  assertEquals(ended, 5000);
});

Deno.test("a mutex is handed on in the order of asking, also after a failure", () => {
  const mutex = new Mutex();
  const order: number[] = [];
  const finish: Completion[] = [];
  for (let i = 0; i < 3; i++) {
    const body = function* (): Coroutine<void> {
      order.push(i);
      yield* waitFor((done) => finish.push(done));
    };
    run(mutex.hold(body), () => {});
  }
  assertEquals(order, [0]);
  finish[0](new Error("it failed"));
  assertEquals(order, [0, 1]);
  finish[1]();
  assertEquals(order, [0, 1, 2]);
});
