import { assert, assertEquals, assertThrows } from "@std/assert";
import { monotonicNow } from "../../src/ffi/clock.ts";
import { SyscallError } from "../../src/ffi/errno.ts";
import { waitOnFutex, wakeFutex } from "../../src/ffi/futex.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { leakingNothing, workersEnded } from "../support/leaks.ts";

/** A thread that sleeps on the word until it holds something else. */
const SLEEPER = `
import { waitOnFutex } from "${new URL("../../src/ffi/futex.ts", import.meta.url)}";
import { bytesAt } from "${new URL("../../src/ffi/memory.ts", import.meta.url)}";
onmessage = ({ data: address }) => {
  const word = new Int32Array(bytesAt(address, 4).buffer);
  postMessage("sleeps");
  while (Atomics.load(word, 0) === -5) waitOnFutex(address, -5, 3600e9);
  postMessage("woken");
  self.close();
};`;

Deno.test("a thread that sleeps on a word is woken through another mapping of it", async () => {
  const fd = createMemoryFile("futex", 4096);
  const [mine, other] = [mapFile(fd, 0, 4096), mapFile(fd, 0, 4096)];
  const word = new Int32Array(mine.bytes.buffer);
  word[0] = -5;
  const worker = new Worker(`data:application/typescript,${encodeURIComponent(SLEEPER)}`, { type: "module" });
  const next = () => new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
  worker.postMessage(other.address);
  assertEquals(await next(), "sleeps");
  // It may not be asleep yet: then it finds the word changed.
  while (wakeFutex(mine.address) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const woken = next();
  Atomics.store(word, 0, 6);
  wakeFutex(mine.address);
  assertEquals(await woken, "woken");
  await workersEnded();
  for (const mapping of [mine, other]) mapping.unmap();
  closeFd(fd);
});

function withWord(body: (address: bigint, word: Int32Array) => void): () => void {
  return leakingNothing(() => {
    const fd = createMemoryFile("futex", 4096);
    const mapping = mapFile(fd, 0, 4096);
    try {
      body(mapping.address, new Int32Array(mapping.bytes.buffer));
    } finally {
      mapping.unmap();
      closeFd(fd);
    }
  });
}

Deno.test(
  "nobody sleeps on a word that does not hold what was expected",
  withWord((address) => waitOnFutex(address, 1, 3600e9)),
);

Deno.test(
  "a sleep ends at its timeout",
  withWord((address) => {
    const before = monotonicNow();
    waitOnFutex(address, 0, 2e6);
    assert(monotonicNow() - before >= 2e6);
  }),
);

Deno.test(
  "waking a word on which nobody sleeps wakes nobody",
  withWord((address) => assertEquals(wakeFutex(address), 0)),
);

Deno.test(
  "a word that is not aligned is refused",
  withWord((address) => void assertThrows(() => waitOnFutex(address + 1n, 0, 1e6), SyscallError, "EINVAL")),
);
