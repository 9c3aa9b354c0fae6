import { assertEquals } from "@std/assert";
import { answerDoorbell, createDoorbell, isDoorbellConnected, ringDoorbell } from "../../src/ffi/doorbell.ts";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, isOpenFd, setNonblocking } from "../../src/ffi/file.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { leakingNothing } from "../support/leaks.ts";

function withDoorbell(body: (ringer: number, listener: number) => void): () => void {
  return leakingNothing(() => {
    const ends = createDoorbell();
    try {
      body(...ends);
    } finally {
      for (const fd of ends) if (isOpenFd(fd)) closeFd(fd);
    }
  });
}

const isRung = (listener: number) => (pollFd(listener, Ready.IN, 0) & Ready.IN) !== 0;

Deno.test(
  "a doorbell is readable from a ring until it is answered",
  withDoorbell((ringer, listener) => {
    assertEquals(isRung(listener), false);
    ringDoorbell(ringer);
    ringDoorbell(ringer);
    assertEquals([isRung(listener), isRung(listener)], [true, true]);
    assertEquals(answerDoorbell(listener), true);
    assertEquals(isRung(listener), false);
  }),
);

Deno.test(
  "answering a doorbell that nobody rings does not wait, whatever flags the peer has set",
  withDoorbell((_, listener) => {
    setNonblocking(listener, false);
    assertEquals(answerDoorbell(listener), true);
  }),
);

Deno.test(
  "ringing a doorbell that nobody answers does not wait, however full it is",
  withDoorbell((ringer, listener) => {
    setNonblocking(ringer, false);
    for (let i = 0; i < 5000; i++) assertEquals(ringDoorbell(ringer), true);
    assertEquals(isRung(listener), true);
  }),
);

Deno.test(
  "whoever rings learns that nobody listens any more",
  withDoorbell((ringer, listener) => {
    assertEquals(isDoorbellConnected(ringer), true);
    closeFd(listener);
    assertEquals(isDoorbellConnected(ringer), false);
    assertEquals(ringDoorbell(ringer), false);
  }),
);

Deno.test(
  "whoever listens learns that nobody can ring any more",
  withDoorbell((ringer, listener) => {
    closeFd(ringer);
    assertEquals(isRung(listener), true);
    assertEquals(answerDoorbell(listener), false);
  }),
);

Deno.test(
  "descriptors that come through a doorbell are not kept",
  withDoorbell((ringer, listener) => {
    new MessageSocket(ringer).send(new Uint8Array(1), 0, 1, [ringer], false);
    assertEquals(answerDoorbell(listener), true);
  }),
);
