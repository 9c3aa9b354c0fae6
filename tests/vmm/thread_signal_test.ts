import { assertEquals } from "@std/assert";
import { createEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { THREAD_SIGNAL_SIZE, ThreadSignal } from "../../src/vmm/thread_signal.ts";

/** A signal as two threads see it, and what makes the waiter look at its descriptor. */
async function withSignal(
  body: (signal: { waiter: ThreadSignal; caller: ThreadSignal; look: () => void }) => Promise<void>,
): Promise<void> {
  const memory = new SharedArrayBuffer(THREAD_SIGNAL_SIZE);
  const fd = createEventFd();
  const [waiter, caller] = [new ThreadSignal(memory, fd), new ThreadSignal(memory, fd)];
  let look = () => {};
  waiter.watch({
    watch: (_fd, _events, ready) => {
      look = ready;
      return { modify() {}, cancel() {} };
    },
  });
  try {
    await body({ waiter, caller, look: () => look() });
  } finally {
    closeFd(fd);
  }
}

Deno.test("a call that came before the wait is not missed", () =>
  withSignal(async ({ waiter, caller }) => {
    const seen = waiter.count;
    caller.notify();
    assertEquals(await waiter.changed(seen), false, "it waited");
  }));

Deno.test("a call ends a wait that has begun", () =>
  withSignal(async ({ waiter, caller, look }) => {
    const changed = waiter.changed(waiter.count);
    caller.notify();
    look();
    assertEquals(await changed, true);
  }));

Deno.test("a wait ends when its time is over, with nobody having called", () =>
  withSignal(async ({ waiter }) => {
    const seen = waiter.count;
    assertEquals(await waiter.changed(seen, 1), true);
    assertEquals(waiter.count, seen);
  }));

Deno.test("a wait of no time does not wait", () =>
  withSignal(async ({ waiter }) => {
    assertEquals(await waiter.changed(waiter.count, 0), false);
  }));

Deno.test("a descriptor that is ready for a wait that is over disturbs nobody", () =>
  withSignal(async ({ waiter, caller, look }) => {
    await waiter.changed(waiter.count, 1);
    caller.notify();
    look();
    const seen = waiter.count;
    const changed = waiter.changed(seen);
    caller.notify();
    look();
    assertEquals(await changed, true);
  }));
