/** The watch over device processes, with real ones: those that die, hang and come back, and what is told of it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { SOURCE, startRemote } from "../support/machines.ts";
import { childrenOf, readProc, signalProcess, waitForState } from "../support/process_tree.ts";
import { pause, type QmpMessage } from "../support/qmp_client.ts";
import type { Stage } from "../support/stage.ts";
import { type CountingMachine, type MachineOptions, testCounting } from "./counting_machine.ts";
import { GIVEN_DEVICE, localDisk } from "./guests.ts";

/** A heartbeat that is fast enough for a test, and a deadline that is short, or too long for one. */
const IMPATIENT = "heartbeat=20,deadline=400";
const PATIENT = "heartbeat=20,deadline=600000";

/** The only device, as the machine describes it. */
function process({ qmp }: CountingMachine): QmpMessage {
  const [first, ...others] = qmp.call("query-device-processes") as unknown as QmpMessage[];
  assertEquals(others, []);
  return first;
}

/** Waits until so many further pings have been answered. */
function awaitAnswers(machine: CountingMachine, count: number): void {
  const enough = process(machine).heartbeat.answered + count;
  while (process(machine).heartbeat.answered < enough) pause(5);
}

/** Ends the machine, and checks that clients heard of one failure, and the log of nothing else. */
function endAfterFailure(machine: CountingMachine, line: RegExp): void {
  const { vmm, qmp } = machine;
  machine.awaitCount();
  pause(100); // five heartbeats
  qmp.call("quit");
  assertEquals(qmp.untilEnd(), ["SHUTDOWN"]);
  assertEquals(vmm.wait(), { code: 0 });
  assertMatch(vmm.errors, line);
  assertEquals(vmm.errors.trimEnd().split("\n").length, 1, vmm.errors);
}

/** A machine with a device process that it starts. */
function localDevice(properties: string): (stage: Stage) => MachineOptions {
  return (stage) => ({ options: localDisk(stage, properties) });
}

for (const wire of ["accel=on", "accel=off"]) {
  for (const sandbox of ["sandbox=on", "sandbox=off"]) {
    const way = `${wire},${sandbox}`;

    testCounting(
      `a device process that hangs is found within its deadline, though nobody asks it anything (${way})`,
      (machine) => {
        awaitAnswers(machine, 3);
        const { pid, state } = process(machine);
        assertEquals([state, childrenOf(machine.vmm.pid).includes(pid)], ["running", true]);
        signalProcess(pid, Signal.STOP);
        assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED"), {
          ...{ device: "lsi0", reason: "hung", action: "none" },
          detail: "its process hangs: a ping has had no answer for 400 ms",
        });
        assertEquals(process(machine).state, "failed");
        waitForState(() => pid, undefined); // it writes no memory any more that the guest may use for something else
        endAfterFailure(
          machine,
          /^splitvm: device lsi0 is gone: its process hangs: a ping has had no answer for 400 ms; it reads as all-ones from now on\n$/,
        );
      },
      localDevice(`${way},${IMPATIENT}`),
    );

    testCounting(`a device process that is killed has died, whatever its deadline is (${way})`, (machine) => {
      signalProcess(process(machine).pid, Signal.KILL);
      assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED"), {
        ...{ device: "lsi0", reason: "died", action: "none", status: { signal: 9 } },
        detail: "its process was killed by signal 9",
      });
      endAfterFailure(machine, /^splitvm: device lsi0 is gone: its process was killed by signal 9; it reads as/);
    }, localDevice(`${way},${PATIENT}`));
  }
}

testCounting("a device process that stands still for less than its deadline is not given up", (machine) => {
  const { vmm, qmp } = machine;
  awaitAnswers(machine, 1);
  const { pid } = process(machine);
  for (let i = 0; i < 3; i++) {
    signalProcess(pid, Signal.STOP);
    waitForState(() => pid, "T");
    pause(100);
    signalProcess(pid, Signal.CONT);
    awaitAnswers(machine, 3);
  }
  assertEquals(process(machine).state, "running");
  qmp.call("quit");
  assertEquals([qmp.untilEnd(), vmm.wait(), vmm.errors], [["SHUTDOWN"], { code: 0 }, ""]);
}, localDevice(PATIENT));

testCounting("time in which the VMM itself stood still is not its device process's", (machine) => {
  const { vmm, qmp } = machine;
  awaitAnswers(machine, 1);
  const { pid } = process(machine);
  // The device process first: a ping is on its way, in vain, when the VMM stops.
  for (const each of [pid, vmm.pid]) signalProcess(each, Signal.STOP);
  waitForState(() => vmm.pid, "T");
  pause(1500);
  for (const each of [vmm.pid, pid]) signalProcess(each, Signal.CONT);
  awaitAnswers(machine, 3);
  qmp.call("quit");
  assertEquals([vmm.wait(), vmm.errors], [{ code: 0 }, ""]);
}, localDevice("heartbeat=20,deadline=1000"));

testCounting("a machine that stands still goes on to watch", (machine) => {
  const { qmp } = machine;
  qmp.call("stop");
  awaitAnswers(machine, 3);
  signalProcess(process(machine).pid, Signal.STOP);
  assertEquals(qmp.waitFor("DEVICE_PROCESS_FAILED")!.reason, "hung");
  qmp.call("cont");
  qmp.waitFor("RESUME");
  endAfterFailure(machine, /its process hangs/);
}, localDevice(IMPATIENT));

testCounting("without a heartbeat there are no figures, and a death is told of all the same", (machine) => {
  const { heartbeat, deadline, pid } = process(machine);
  assertEquals([heartbeat, deadline], [undefined, 10_000]);
  signalProcess(pid, Signal.TERM);
  assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED")!.status, { signal: Signal.TERM });
  endAfterFailure(machine, /its process was killed by signal 15;/);
}, localDevice("heartbeat=0,sandbox=off"));

testCounting("the figures of the heartbeat are plausible", (machine) => {
  awaitAnswers(machine, 10);
  const { device, state, sandboxed, accelerated, deadline, heartbeat } = process(machine);
  assertEquals({ device, state, sandboxed, accelerated, deadline }, {
    ...{ device: "lsi0", state: "running", sandboxed: true, accelerated: true, deadline: 600_000 },
  });
  const { interval, sent, answered, last, mean, max } = heartbeat;
  assertEquals(interval, 20);
  assert(sent === answered || sent === answered + 1, `${sent} sent, ${answered} answered`);
  assert(0 < last && last <= max && 0 < mean && mean <= max, JSON.stringify(heartbeat));
}, localDevice(PATIENT));

/** A machine with a device process that somebody else has started. */
function givenDevice(stage: Stage): MachineOptions {
  const image = `${stage.directory}/disk.img`;
  Deno.writeFileSync(image, new Uint8Array(1 << 20));
  const [near, far] = stage.link();
  const { pid } = startRemote(stage, SOURCE, image, far);
  Deno.writeTextFileSync(`${stage.directory}/pid`, `${pid}`);
  return { options: [`-device`, `${GIVEN_DEVICE[1]},${IMPATIENT}`], given: near };
}

testCounting(
  "a device process of somebody else's that ends has closed its link; how it ended is for others to know",
  (machine, stage) => {
    stage.giveAway();
    awaitAnswers(machine, 3);
    const { pid, sandboxed } = process(machine);
    assertEquals([pid, sandboxed], [undefined, undefined]);
    signalProcess(Number(Deno.readTextFileSync(`${stage.directory}/pid`)), Signal.KILL);
    assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED"), {
      ...{ device: "lsi0", reason: "closed", detail: "the peer closed the link", action: "none" },
    });
    endAfterFailure(machine, /^splitvm: device lsi0 is gone: the peer closed the link; it reads as all-ones/);
  },
  givenDevice,
);

testCounting("a device process of somebody else's that hangs is cut off, and not killed", (machine, stage) => {
  stage.giveAway();
  awaitAnswers(machine, 3);
  const pid = Number(Deno.readTextFileSync(`${stage.directory}/pid`));
  signalProcess(pid, Signal.STOP);
  assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED")!.reason, "hung");
  assertMatch(readProc(`/proc/${pid}/status`), /^State:\s+T/m);
  signalProcess(pid, Signal.CONT);
  endAfterFailure(machine, /its process hangs: a ping has had no answer for 400 ms;/);
}, givenDevice);
