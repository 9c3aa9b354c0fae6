import { assertEquals } from "@std/assert";
import { createEventFd, pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { MACHINE_EVENTS_SIZE, MachineEvents } from "../../src/vmm/machine_events.ts";

/** Events as the leading thread and the control thread see them. */
function withEvents(
  body: (events: { leader: MachineEvents; control: MachineEvents; isReady(): boolean }) => void,
): void {
  const memory = new SharedArrayBuffer(MACHINE_EVENTS_SIZE);
  const fd = createEventFd();
  try {
    body({
      leader: new MachineEvents(memory, fd),
      control: new MachineEvents(memory, fd),
      isReady: () => pollFd(fd, Ready.IN, 0) !== 0,
    });
  } finally {
    closeFd(fd);
  }
}

Deno.test("the control thread takes each piece of news once", () =>
  withEvents(({ leader, control }) => {
    leader.noteTurn();
    leader.noteReset("guest-reset");
    leader.noteReset("host-qmp-system-reset");
    leader.noteReset("guest-reset");
    assertEquals(control.take(), { guestResets: 2, hostResets: 1, turns: 1, end: undefined });
    assertEquals(control.take(), { guestResets: 0, hostResets: 0, turns: 0, end: undefined });
  }));

Deno.test("what happens while the control thread looks has it look again", () =>
  withEvents(({ leader, control, isReady }) => {
    leader.notify();
    assertEquals(isReady(), true);
    control.listen();
    assertEquals(isReady(), false);
    leader.notify();
    control.take();
    assertEquals(isReady(), true);
  }));
