import { assert, assertEquals, assertThrows } from "@std/assert";
import { createEventFd, createTimerFd, drainEventFd, signalEventFd } from "../../src/ffi/event.ts";
import { closeFd, duplicateFd, isOpenFd, openFile, OpenFlags, setNonblocking, writeFd } from "../../src/ffi/file.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { InterruptLine } from "../../src/remote/interrupt_line.ts";
import { leakingNothing } from "../support/leaks.ts";

/** A line, and the eventfds as KVM holds them. */
interface Fixture {
  readonly loop: EventLoop;
  readonly line: InterruptLine;
  readonly irq: number;
  readonly resample: number;
  connect(): void;
}

function withLine(body: (fixture: Fixture) => void): () => void {
  return leakingNothing(() => {
    const loop = new EventLoop();
    const line = new InterruptLine(loop);
    const [irq, resample] = [createEventFd(), createEventFd()];
    const connect = () => line.connect(duplicateFd(irq), duplicateFd(resample));
    try {
      body({ loop, line, irq, resample, connect });
    } finally {
      line.disconnect();
      loop.close();
      [irq, resample].forEach(closeFd);
    }
  });
}

Deno.test(
  "the irq descriptor is written when the pin rises, and only then",
  withLine(({ line, irq, connect }) => {
    connect();
    assert(!drainEventFd(irq));
    line.set(true);
    assert(drainEventFd(irq));
    line.set(true);
    line.set(false);
    assert(!drainEventFd(irq));
    line.set(true);
    assert(drainEventFd(irq));
  }),
);

Deno.test(
  "after the guest's end of interrupt a pin that is still high is signalled again",
  withLine(({ loop, line, irq, resample, connect }) => {
    connect();
    line.set(true);
    drainEventFd(irq);
    for (let i = 0; i < 3; i++) {
      signalEventFd(resample);
      loop.turn();
      assert(drainEventFd(irq));
      assert(!loop.turn(false), "one end of interrupt counts twice");
      assert(!drainEventFd(irq));
    }
  }),
);

Deno.test(
  "after the guest's end of interrupt a pin that is low is left alone",
  withLine(({ loop, line, irq, resample, connect }) => {
    connect();
    line.set(true);
    line.set(false);
    drainEventFd(irq);
    signalEventFd(resample);
    loop.turn();
    assert(!drainEventFd(irq));
  }),
);

Deno.test(
  "a pin that rose before there were descriptors is signalled when they come",
  withLine(({ line, irq, connect }) => {
    line.set(true);
    connect();
    assert(drainEventFd(irq));
  }),
);

Deno.test(
  "a pin that fell before there were descriptors is not signalled",
  withLine(({ line, irq, connect }) => {
    line.set(true);
    line.set(false);
    connect();
    assert(!drainEventFd(irq));
  }),
);

Deno.test(
  "new descriptors replace the old ones, which are closed",
  withLine(({ loop, line, irq, resample, connect }) => {
    const old = [createEventFd(), createEventFd()];
    line.connect(old[0], old[1]);
    line.set(true);
    connect();
    assertEquals(old.map(isOpenFd), [false, false]);
    assert(drainEventFd(irq));
    signalEventFd(resample);
    loop.turn();
    assert(drainEventFd(irq));
  }),
);

Deno.test(
  "what is no eventfd is refused, and both descriptors are closed",
  withLine(({ line, irq, connect }) => {
    connect();
    const [socket, peer] = createSocketPair();
    const file = openFile("/proc/self/stat", OpenFlags.O_RDONLY);
    for (const other of [socket, file]) {
      for (const first of [true, false]) {
        const bad = duplicateFd(other);
        const good = createEventFd();
        const error = assertThrows(() => line.connect(first ? bad : good, first ? good : bad), LinkError) as LinkError;
        assertEquals(error.message, `SET_IRQFD: the ${first ? "irq" : "resample"} descriptor is not an eventfd`);
        assertEquals([bad, good].map(isOpenFd), [false, false]);
      }
    }
    [socket, peer, file].forEach(closeFd);
    line.set(true);
    assert(drainEventFd(irq), "the old descriptors were lost");
  }),
);

Deno.test(
  "a descriptor that only looks like an eventfd holds nobody up, and is closed in the end",
  withLine(({ line }) => {
    const timers = [createTimerFd(), createTimerFd()];
    line.connect(timers[0], timers[1]);
    line.set(true); // a timerfd cannot be written
    line.disconnect();
    assertEquals(timers.map(isOpenFd), [false, false]);
  }),
);

Deno.test(
  "an irq descriptor that the peer fills and makes blocking later holds nobody up",
  withLine(({ line, irq, connect }) => {
    connect();
    setNonblocking(irq, false);
    writeFd(irq, new Uint8Array(BigUint64Array.of(0xffff_ffff_ffff_fffen).buffer));
    line.set(true);
    assert(drainEventFd(irq));
  }),
);

Deno.test(
  "an irq descriptor that is full, and was blocking, holds nobody up",
  withLine(({ line, irq, connect }) => {
    setNonblocking(irq, false);
    writeFd(irq, new Uint8Array(BigUint64Array.of(0xffff_ffff_ffff_fffen).buffer));
    connect();
    line.set(true);
    assert(drainEventFd(irq));
  }),
);
