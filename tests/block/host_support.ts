/**
 * What tests of host files need.
 *
 * @module
 */
import { IoUring } from "../../src/ffi/io_uring.ts";
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
