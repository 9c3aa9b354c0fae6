import { assertEquals } from "@std/assert";
import { ThreadSignal } from "../../src/vmm/thread_signal.ts";

Deno.test("a call that came before the wait is not missed", async () => {
  const memory = new SharedArrayBuffer(4);
  const [waiter, caller] = [new ThreadSignal(memory), new ThreadSignal(memory)];
  const seen = waiter.count;
  caller.notify();
  assertEquals(await waiter.changed(seen), false, "it waited");
});

Deno.test("a call ends a wait that has begun", async () => {
  const memory = new SharedArrayBuffer(4);
  const [waiter, caller] = [new ThreadSignal(memory), new ThreadSignal(memory)];
  // The time limit keeps the event loop alive, and is not reached.
  const alive = setTimeout(() => {}, 60_000);
  const changed = waiter.changed(waiter.count, 60_000);
  caller.notify();
  assertEquals(await changed, true);
  clearTimeout(alive);
});

Deno.test("a wait ends when its time is over, with nobody having called", async () => {
  const signal = new ThreadSignal(new SharedArrayBuffer(4));
  const alive = setTimeout(() => {}, 60_000);
  const seen = signal.count;
  await signal.changed(seen, 1);
  clearTimeout(alive);
  assertEquals(signal.count, seen);
});

Deno.test("a wait of no time does not wait", async () => {
  const signal = new ThreadSignal(new SharedArrayBuffer(4));
  assertEquals(await signal.changed(signal.count, 0), false);
});
