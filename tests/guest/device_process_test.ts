/** A device process that goes away while the guest runs: the device is an empty slot from then on, and nothing else happens. */
import { assert, assertEquals } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { SOURCE, startRemote } from "../support/machines.ts";
import { childrenOf, waitForState } from "../support/process_tree.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import interrupt from "./asm/interrupt.asm" with { type: "text" };
import store from "./asm/store.asm" with { type: "text" };
import type { Program, Stage } from "../support/stage.ts";
import { GIVEN_DEVICE, localDisk, startGuest, testOnKvm } from "./guests.ts";

const constants = { RESET_FIRST: 0 };
/** All-ones from the device's registers, the BAR's as the configuration space's, and no interrupt from a line that was high. */
const GONE = "register ff, identity ffffffff\r\nline is low: 0 interrupts\r\n";

function assertOneLine(errors: string): void {
  assert(/^splitvm: device lsi0 is gone: .*reads as all-ones from now on\n$/.test(errors), errors);
}

testOnKvm("a device that answers keeps its line high until the guest takes the cause away", (stage) => {
  const vmm = startGuest(stage, interrupt, { constants, options: localDisk(stage) });
  vmm.waitFor("line is high: interrupts without end\r\nwaiting\r\n");
  vmm.send("x");
  assertEquals(vmm.wait(), { code: 0 });
  assert(vmm.console.endsWith("register 90, identity 00121000\r\nline is low: 0 interrupts\r\n"), vmm.console);
  assertEquals(vmm.errors, "");
});

testOnKvm("a signal from the terminal's keys ends the machine in good order, its device process last", (stage) => {
  // A session of its own, as on a terminal: what the keys send goes to the whole foreground process group.
  const vmm = startGuest(stage, idle, { options: localDisk(stage), by: ["/usr/bin/setsid"] });
  vmm.waitFor("waiting\r\n");
  vmm.send("x");
  vmm.waitFor("ready\r\n"); // what gives the guest its input is what listens to signals
  assertEquals(syscalls().kill(-vmm.pid, Signal.INT), 0);
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals(vmm.errors, "");
});

testOnKvm(
  "a device process that the VMM started is killed: its device reads as all-ones, its interrupt falls",
  (stage) => {
    const vmm = startGuest(stage, interrupt, { constants, options: localDisk(stage) });
    vmm.waitFor("waiting\r\n");
    const [child, ...others] = childrenOf(vmm.pid);
    assertEquals(others, []);
    assertEquals(syscalls().kill(child, Signal.KILL), 0);
    vmm.send("x");
    assertEquals(vmm.wait(), { code: 0 });
    assert(vmm.console.endsWith(GONE), vmm.console);
    assertOneLine(vmm.errors);
  },
);

testOnKvm(
  "a device process behind a socket that was given is killed: the guest goes on without the device",
  (stage) => {
    const image = `${stage.directory}/disk.img`;
    Deno.writeFileSync(image, new Uint8Array(1 << 20));
    const [near, far] = stage.link();
    const remote = startRemote(stage, SOURCE, image, far);
    const vmm = startGuest(stage, interrupt, { constants, options: GIVEN_DEVICE, given: near });
    stage.giveAway();
    vmm.waitFor("waiting\r\n");
    remote.signal(Signal.KILL);
    assertEquals(remote.wait(), { signal: Signal.KILL });
    vmm.send("x");
    assertEquals(vmm.wait(), { code: 0 });
    assert(vmm.console.endsWith(GONE), vmm.console);
    assertOneLine(vmm.errors);
  },
);

testOnKvm("a device process that ends is told of at once, without an access to its device", (stage) => {
  const vmm = startGuest(stage, idle, { options: localDisk(stage) });
  vmm.waitFor("waiting\r\n");
  const [child] = childrenOf(vmm.pid);
  assertEquals(syscalls().kill(child, Signal.KILL), 0);
  vmm.waitForError("reads as all-ones from now on\n");
  assertOneLine(vmm.errors);
  vmm.send("x");
  vmm.waitFor("ready\r\n");
});

/** Lets a guest act on a device whose process has been stopped. */
function actOnStopped(stage: Stage, source: string, options: readonly string[] = localDisk(stage)): Program {
  const vmm = startGuest(stage, source, { constants, options });
  vmm.waitFor("waiting\r\n");
  const [child] = childrenOf(vmm.pid);
  assertEquals(syscalls().kill(child, Signal.STOP), 0);
  waitForState(() => child, "T");
  vmm.send("x");
  return vmm;
}

for (const accel of ["on", "off"]) {
  testOnKvm(
    `a load that a stopped device process does not answer is all-ones after the deadline (accel=${accel})`,
    (stage) => {
      const options = localDisk(stage, `accel=${accel},heartbeat=0,deadline=1000`);
      const vmm = actOnStopped(stage, interrupt, options);
      vmm.waitFor(GONE);
      assertEquals(vmm.wait(), { code: 0 });
      assertOneLine(vmm.errors);
    },
  );
}

testOnKvm("a guest that stores to a stopped device goes on, and the device is gone after the deadline", (stage) => {
  const vmm = actOnStopped(stage, store, localDisk(stage, "heartbeat=0,deadline=3000"));
  vmm.waitFor("stored\r\n");
  assertEquals(vmm.errors, "");
  vmm.waitForError("a posted write has not been carried out for 3000 ms; it reads as all-ones from now on\n");
  assertOneLine(vmm.errors);
  const debug = () => Deno.statSync(`${stage.directory}/debug.txt`).size;
  const before = debug();
  stage.runUntil(() => debug() > before, "the guest to go on");
});
