/**
 * Whether descriptors are left open, at the price of one system call or two.
 *
 * @module
 */
import { createEventFd } from "../../../src/ffi/event.ts";
import { closeFd } from "../../../src/ffi/file.ts";

/** The lowest number that is free, which the kernel gives to the next descriptor: one that was leaked takes it. */
export function lowestFreeDescriptor(): number {
  const fd = createEventFd();
  closeFd(fd);
  return fd;
}
