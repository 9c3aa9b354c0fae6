import { assertEquals, assertThrows } from "@std/assert";
import { SharedLock } from "../../src/vmm/shared_lock.ts";

const FREE = 0;

/** A thread that adds one to a number `count` times, each time under the lock and in two steps. */
const ADDER = `
import { SharedLock } from "${new URL("../../src/vmm/shared_lock.ts", import.meta.url)}";
onmessage = ({ data: { word, shared, count } }) => {
  const lock = new SharedLock(new Int32Array(word));
  const numbers = new Float64Array(shared);
  for (let i = 0; i < count; i++) {
    lock.with(() => {
      const before = numbers[0];
      for (let spin = 0; spin < 20; spin++) numbers[1] = spin;
      numbers[0] = before + 1;
    });
  }
  postMessage("done");
  close();
};
`;

function startAdder(message: unknown): Promise<void> {
  const worker = new Worker(`data:application/typescript,${encodeURIComponent(ADDER)}`, { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(message);
  });
}

Deno.test("what threads do under the lock does not interleave", async () => {
  const [word, shared] = [new SharedArrayBuffer(4), new SharedArrayBuffer(16)];
  const [threads, count] = [4, 5000];
  await Promise.all(Array.from({ length: threads }, () => startAdder({ word, shared, count })));
  assertEquals(new Float64Array(shared)[0], threads * count);
  assertEquals(new Int32Array(word)[0], FREE);
});

Deno.test("the lock is free again after an error, which goes on", () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const lock = new SharedLock(word);
  assertThrows(
    () =>
      lock.with(() => {
        throw new Error("inside");
      }),
    Error,
    "inside",
  );
  assertEquals(word[0], FREE);
});

Deno.test("the result of what ran under the lock is passed on", () => {
  const lock = new SharedLock(new Int32Array(new SharedArrayBuffer(4)));
  assertEquals(lock.with(() => 42), 42);
});

Deno.test("the lock is taken without waiting where it is free, and not where it is not", () => {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const [one, other] = [new SharedLock(word), new SharedLock(word)];
  assertEquals([one.tryAcquire(), one.held], [true, true]);
  assertEquals([other.tryAcquire(), other.held], [false, false]);
  assertEquals([one.tryAcquire(), one.held], [false, true]);
  one.release();
  assertEquals(other.tryAcquire(), true);
});

Deno.test("objects over the same word are the same lock", () => {
  const word = new SharedArrayBuffer(4);
  const [one, other] = [new SharedLock(new Int32Array(word)), new SharedLock(new Int32Array(word))];
  one.acquire();
  assertEquals(new Int32Array(word)[0] === FREE, false);
  other.release();
  assertEquals(new Int32Array(word)[0], FREE);
});
