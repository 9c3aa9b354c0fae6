import { assertEquals, assertThrows } from "@std/assert";
import { answerDoorbell, createDoorbell, ringDoorbell } from "../../src/ffi/doorbell.ts";
import { SyscallError } from "../../src/ffi/errno.ts";
import { createEventFd, drainEventFd, isReady, Ready, signalEventFd } from "../../src/ffi/event.ts";
import { closeFd, createPipe, setNonblocking, writeFd } from "../../src/ffi/file.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { leakingNothing } from "../support/leaks.ts";

/** A test body that gets a doorbell; with both ends closed, nothing is left of it. */
function withDoorbell(body: (ringer: number, listener: number) => void): () => void {
  return leakingNothing(() => {
    const ends = createDoorbell();
    try {
      body(...ends);
    } finally {
      ends.forEach(closeFd);
    }
  });
}

const isRung = (listener: number) => isReady(listener, Ready.IN);

Deno.test(
  "a doorbell is readable from a ring until it is answered, again and again",
  withDoorbell((ringer, listener) => {
    for (let i = 0; i < 3; i++) {
      assertEquals(isRung(listener), false);
      ringDoorbell(ringer);
      assertEquals([isRung(listener), isRung(listener)], [true, true]);
      answerDoorbell(listener);
    }
    assertEquals(isRung(listener), false);
  }),
);

Deno.test(
  "rings before the answer count as one",
  withDoorbell((ringer, listener) => {
    for (let i = 0; i < 5000; i++) ringDoorbell(ringer);
    assertEquals(isRung(listener), true);
    answerDoorbell(listener);
    assertEquals(isRung(listener), false);
  }),
);

Deno.test(
  "answering a doorbell that nobody rings does not wait",
  withDoorbell((_, listener) => {
    setNonblocking(listener, false);
    answerDoorbell(listener);
    answerDoorbell(listener);
    assertEquals(isRung(listener), false);
  }),
);

Deno.test(
  "ringing does not wait, even when the count is full",
  withDoorbell((ringer, listener) => {
    writeFd(ringer, new Uint8Array(BigUint64Array.of(2n ** 64n - 2n).buffer)); // the most there can be (eventfd(2))
    ringDoorbell(ringer);
    assertEquals(isRung(listener), true);
  }),
);

Deno.test(
  "whoever listens can do nothing to the end that rings: it has no eventfd, nor the flags of one",
  withDoorbell((ringer, listener) => {
    assertThrows(() => signalEventFd(listener), SyscallError, "EINVAL");
    assertThrows(() => drainEventFd(listener), SyscallError, "EINVAL");
    setNonblocking(listener, false);
    ringDoorbell(ringer);
    assertEquals([drainEventFd(ringer), drainEventFd(ringer)], [true, false]); // the second does not wait
  }),
);

Deno.test(
  "ringing goes on when nobody listens any more, and answering when nobody can ring",
  leakingNothing(() => {
    const [[ringer, gone], [silent, listener]] = [createDoorbell(), createDoorbell()];
    closeFd(gone);
    ringDoorbell(ringer);
    ringDoorbell(silent);
    closeFd(silent);
    answerDoorbell(listener);
    assertEquals(isRung(listener), false);
    [ringer, listener].forEach(closeFd);
  }),
);

Deno.test(
  "answering what is no doorbell is an error",
  leakingNothing(() => {
    const others = [createEventFd(), createMemoryFile("test", 4096), ...createSocketPair(), ...createPipe()];
    for (const fd of others) assertThrows(() => answerDoorbell(fd), SyscallError, "EINVAL");
    others.forEach(closeFd);
    assertThrows(() => answerDoorbell(others[0]), SyscallError, "EBADF");
  }),
);
