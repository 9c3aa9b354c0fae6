import { assertEquals } from "@std/assert";
import { createEventFd, drainEventFd } from "../../src/ffi/event.ts";
import { closeFd, setNonblocking } from "../../src/ffi/file.ts";
import { signalSharedEventFd } from "../../src/ffi/shared_eventfd.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { leakingNothing } from "../support/leaks.ts";

function withEventFd(body: (fd: number) => void): () => void {
  return leakingNothing(() => {
    const fd = createEventFd();
    try {
      body(fd);
    } finally {
      closeFd(fd);
    }
  });
}

Deno.test(
  "a shared eventfd is signalled",
  withEventFd((fd) => {
    signalSharedEventFd(fd);
    assertEquals([drainEventFd(fd), drainEventFd(fd)], [true, false]);
  }),
);

Deno.test(
  "a peer that has filled a shared eventfd and made it blocking does not hold up who signals it",
  withEventFd((fd) => {
    const fullest = new Uint8Array(BigUint64Array.of(0xffff_ffff_ffff_fffen).buffer);
    assertEquals(syscalls().write(fd, fullest, 8), 8);
    setNonblocking(fd, false);
    signalSharedEventFd(fd);
    assertEquals(drainEventFd(fd), true);
  }),
);
