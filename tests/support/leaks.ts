/**
 * What a test may not leave behind.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { fileStatus, isOpenFd } from "../../src/ffi/file.ts";

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

/** A test body that fails when `body` leaves a descriptor open, or closes one that is not its own. */
export function leakingNothing(body: () => void): () => void {
  return () => {
    const before = openDescriptors();
    body();
    assertEquals(openDescriptors(), before, "descriptors are not what they were before the test");
  };
}
