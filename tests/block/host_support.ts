/**
 * What tests of host files need.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { IoUring } from "../../src/ffi/io_uring.ts";
import { openDescriptors } from "../support/leaks.ts";
import type { Requirement } from "../support/requirements.ts";

/** A kernel with io_uring, and the right to use it. */
export const IO_URING: Requirement = {
  name: "io_uring",
  remedy: "use Linux 5.6 or later, and set the sysctl kernel.io_uring_disabled to 0",
  isMet() {
    try {
      IoUring.open(2, 4).close();
      return true;
    } catch {
      return false;
    }
  },
};

/** How long descriptors of threads that have ended may stay open, in milliseconds. */
const PATIENCE = 30_000;

/**
 * Runs `body` twice, since what is done for the first time may open descriptors that stay, and checks that the second time leaves none. Threads
 * close theirs a moment after they have ended.
 */
export async function settledDescriptors(body: () => void): Promise<void> {
  body();
  await settled(() => false, 200);
  const before = openDescriptors();
  body();
  await settled(() => openDescriptors().size <= before.size, PATIENCE);
  assertEquals([...openDescriptors().keys()], [...before.keys()]);
}

async function settled(isSettled: () => boolean, patience: number): Promise<void> {
  for (let waited = 0; waited < patience && !isSettled(); waited += 20) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
