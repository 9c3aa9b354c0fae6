/**
 * What a test may not leave behind.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { fileStatus, isOpenFd } from "../../src/ffi/file.ts";
import { readProc, threadsOf } from "./process_tree.ts";

/** Where looking for descriptors ends; the kernel hands out the lowest number that is free. */
const HIGHEST = 1024;

/** The open descriptors of this process: number → the file behind it. */
export function openDescriptors(): Map<number, string> {
  const found = new Map<number, string>();
  for (let fd = 0; fd < HIGHEST; fd++) {
    if (!isOpenFd(fd)) continue;
    const { device, inode } = fileStatus(fd);
    found.set(fd, `${device}:${inode}`);
  }
  return found;
}

/**
 * A test body that fails when `body` leaves a descriptor open, or closes one that is not its own. It may be called twice.
 *
 * The runtime closes a socket of an earlier test only once it has dropped the last operation on it, which may be during this test, and
 * the connection by which it fetched libraries a minute and a half after its start. So
 * a descriptor that goes away and is not replaced counts only if another does the second time.
 */
export function leakingNothing(body: () => void): () => void {
  return () => {
    const before = openDescriptors();
    body();
    if (isShrunk(before, openDescriptors())) keepingDescriptors(body);
    else assertEquals(openDescriptors(), before, CHANGED);
  };
}

/** The same for a body that waits, without a second chance: nothing may go away that an earlier test has left. */
export function leakingNothingAwaited(body: () => Promise<void>): () => Promise<void> {
  return async () => {
    const before = openDescriptors();
    await body();
    assertEquals(openDescriptors(), before, CHANGED);
  };
}

const CHANGED = "descriptors are not what they were before the test";

function keepingDescriptors(body: () => void): void {
  const before = openDescriptors();
  body();
  assertEquals(openDescriptors(), before, CHANGED);
}

/** Whether some descriptors have gone, and those that are there are as they were. */
function isShrunk(before: ReadonlyMap<number, string>, after: ReadonlyMap<number, string>): boolean {
  return after.size < before.size && [...after].every(([fd, file]) => before.get(fd) === file);
}

/** The runtime's own. */
const FIRST_THREADS = new Set(threadsOf("self"));

/** How long the threads of workers may take to end, in milliseconds. */
const PATIENCE = 30_000;

/**
 * Waits until the workers of this process have ended, with the descriptors that the runtime has for each. To be called at the end of tests
 * that have workers, since the next test may count descriptors.
 */
export async function workersEnded(): Promise<void> {
  // The runtime calls their threads so; until a new one has got that far, it is called as the program is.
  const program = readProc("/proc/self/comm");
  const isWorker = (thread: number) => {
    const name = readProc(`/proc/self/task/${thread}/comm`);
    return name.startsWith("worker-") || (name === program && !FIRST_THREADS.has(thread));
  };
  for (let waited = 0; waited < PATIENCE && threadsOf("self").some(isWorker); waited += 5) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
