/**
 * What tests of host files need.
 *
 * @module
 */
import { assert } from "@std/assert";
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

/** How often what may leak is repeated: more often than its descriptors can be taken for those of a first time that are still to be closed. */
const REPETITIONS = 4;

/**
 * Checks that `body` leaves no descriptors when it is run again; what is done for the first time may open some that stay. Threads close theirs a
 * moment after they have ended, and the runtime opens some of its own anew under other numbers: it is their count that matters.
 */
export async function settledDescriptors(body: () => void): Promise<void> {
  body();
  await settled(() => false, 200);
  const before = openDescriptors().size;
  for (let i = 0; i < REPETITIONS; i++) body();
  await settled(() => openDescriptors().size <= before, PATIENCE);
  const left = openDescriptors().size - before;
  assert(left <= 0, `${left} descriptors are left`);
}

async function settled(isSettled: () => boolean, patience: number): Promise<void> {
  for (let waited = 0; waited < patience && !isSettled(); waited += 20) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
