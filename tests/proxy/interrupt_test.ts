import { assertEquals } from "@std/assert";
import { drainEventFd, signalEventFd } from "../../src/ffi/event.ts";
import { closeInterruptFds, createInterruptFds, IrqfdWire } from "../../src/proxy/interrupt.ts";
import { leakingNothing } from "../support/leaks.ts";
import { RecordingMachine } from "./support/fake_peer.ts";

Deno.test(
  "the two descriptors are eventfds of their own, and are gone when they are closed",
  leakingNothing(() => {
    const fds = createInterruptFds();
    signalEventFd(fds.irq);
    assertEquals([drainEventFd(fds.resample), drainEventFd(fds.irq), drainEventFd(fds.irq)], [false, true, false]);
    closeInterruptFds(fds);
  }),
);

Deno.test("the wire is a level-triggered irqfd: the device is asked again wherever it is attached", () => {
  const machine = new RecordingMachine();
  const fds = createInterruptFds();
  const wire = new IrqfdWire(machine.vm, fds);
  const irqfd = (gsi: number) => ({ gsi, eventfd: fds.irq, resamplefd: fds.resample });
  wire.attach(16);
  assertEquals(drainEventFd(fds.resample), true);
  wire.detach(16);
  assertEquals(drainEventFd(fds.resample), false);
  assertEquals(machine.wiring, [["attach", irqfd(16)], ["detach", irqfd(16)]]);
  closeInterruptFds(fds);
});
