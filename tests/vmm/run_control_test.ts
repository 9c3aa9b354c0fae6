import { assertEquals } from "@std/assert";
import { RunControl, runControlSize } from "../../src/vmm/run_control.ts";

/** Control memory of a machine, with vCPUs of which only the `immediate_exit` flags are there. */
function build(cpus = 1) {
  const memory = new SharedArrayBuffer(runControlSize(cpus));
  const exits = Array<boolean>(cpus).fill(false);
  const vcpus = exits.map((_, i) => ({ requestExit: (wanted: boolean) => void (exits[i] = wanted) }));
  const control = new RunControl(memory, vcpus);
  return { memory, control, exits, attention: () => Atomics.load(control.attention, 0) };
}

Deno.test("a request calls every vCPU out of the guest", () => {
  const { control, exits, attention } = build(3);
  assertEquals(attention(), 0);
  control.requestReset();
  assertEquals([attention(), exits], [1, [true, true, true]]);
});

Deno.test("after a restart nobody is called, and the next reset is another one", () => {
  const { control, exits, attention } = build();
  for (let i = 0; i < 2; i++) {
    control.requestReset();
    assertEquals(control.lead(), { kind: "reset", cause: "guest-reset" });
    control.endReset();
    assertEquals(control.lead(), { kind: "run" });
    control.restart();
    assertEquals([attention(), exits], [0, [false]]);
  }
});

Deno.test("an exit wins over a reset, whichever was asked for first", () => {
  const resetFirst = build().control;
  resetFirst.requestReset();
  resetFirst.requestExit(3);
  assertEquals(resetFirst.lead(), { kind: "exit", status: 3, cause: "guest-shutdown" });
  const exitFirst = build().control;
  exitFirst.requestExit(3);
  exitFirst.requestReset();
  assertEquals(exitFirst.lead(), { kind: "exit", status: 3, cause: "guest-shutdown" });
});

Deno.test("of several exits and failures the first counts", () => {
  const exit = build().control;
  exit.requestExit(255);
  exit.requestExit(1);
  exit.fail("too late");
  assertEquals(exit.lead(), { kind: "exit", status: 255, cause: "guest-shutdown" });
  const failure = build().control;
  failure.fail("the host is out of memory");
  failure.fail("so is everybody");
  failure.requestExit(0);
  assertEquals(failure.lead(), { kind: "failure", message: "the host is out of memory" });
});

Deno.test("a failure's text is cut off where the memory for it ends", () => {
  const { control } = build();
  control.fail("x".repeat(10_000));
  const verdict = control.lead();
  assertEquals(verdict, { kind: "failure", message: "x".repeat(4095) });
});

Deno.test("an end that is asked for during a reset is not forgotten by the restart", () => {
  const { control, attention } = build();
  control.requestReset();
  assertEquals(control.lead(), { kind: "reset", cause: "guest-reset" });
  control.requestExit(7);
  control.endReset();
  control.restart();
  assertEquals(attention(), 1);
  assertEquals(control.lead(), { kind: "exit", status: 7, cause: "guest-shutdown" });
});

Deno.test("one thread's request is another thread's verdict", () => {
  const { memory, control } = build(1);
  new RunControl(memory, [{ requestExit: () => {} }]).fail("said elsewhere");
  assertEquals(control.lead(), { kind: "failure", message: "said elsewhere" });
});

Deno.test("a machine that is stopped stands still until it is told to run, for the first reason given", () => {
  const { control, attention } = build();
  control.requestStop("paused");
  control.requestStop("io-error");
  assertEquals([attention(), control.state, control.settled], [1, "running", false]);
  assertEquals(control.lead(), { kind: "stop", state: "paused" });
  control.enter("paused");
  assertEquals([control.state, control.settled], ["paused", true]);
  control.requestRun();
  assertEquals(control.lead(), { kind: "run" });
  control.enter("running");
  control.restart();
  assertEquals([attention(), control.settled], [0, true]);
});

Deno.test("a machine that stands still is reset and ended when somebody asks, and stands still after a reset", () => {
  const { control } = build();
  control.requestStop("io-error");
  assertEquals(control.lead(), { kind: "stop", state: "io-error" });
  control.enter("io-error");
  control.requestReset("host-qmp-system-reset");
  assertEquals(control.lead(), { kind: "reset", cause: "host-qmp-system-reset" });
  control.endReset();
  assertEquals(control.lead(), { kind: "stop", state: "prelaunch" });
  control.enter("prelaunch");
  control.requestExit(0, "host-signal");
  assertEquals(control.lead(), { kind: "exit", status: 0, cause: "host-signal" });
});

Deno.test("a stop that is asked for during a restart is not forgotten by it", () => {
  const { control, attention } = build();
  control.requestReset();
  control.lead();
  control.endReset();
  assertEquals(control.lead(), { kind: "run" });
  control.requestStop("paused");
  control.restart();
  assertEquals(attention(), 1);
  assertEquals(control.lead(), { kind: "stop", state: "paused" });
});

Deno.test("a stop that is taken back before anybody came to rest changes nothing", () => {
  const { control } = build();
  control.requestStop("paused");
  control.requestRun();
  assertEquals(control.lead(), { kind: "run" });
  assertEquals([control.state, control.settled], ["running", true]);
});

/** Words that {@linkcode FOLLOWER} shares with the test. */
const Shared = { STARTS: 0, STOP: 1, ROUND: 2, DONE: 3 } as const;

/** A vCPU's thread without a guest: counts its starts, and comes to rest when it is called. */
const FOLLOWER = `
import { RunControl } from "${new URL("../../src/vmm/run_control.ts", import.meta.url)}";
onmessage = ({ data: { memory, cpus, words } }) => {
  const shared = new Int32Array(words);
  const control = new RunControl(memory, Array.from({ length: cpus }, () => ({ requestExit() {} })));
  const attention = control.attention;
  while (Atomics.load(shared, ${Shared.STOP}) === 0) {
    Atomics.add(shared, ${Shared.STARTS}, 1);
    Atomics.notify(shared, ${Shared.STARTS});
    while (Atomics.load(attention, 0) === 0) Atomics.wait(attention, 0, 0, 1);
    control.rest();
  }
  postMessage("done");
  close();
};
`;

/** Asks for the end of one machine after the other, each when the test says so. */
const ENDER = `
import { RunControl } from "${new URL("../../src/vmm/run_control.ts", import.meta.url)}";
onmessage = ({ data: { memories, words } }) => {
  const shared = new Int32Array(words);
  memories.forEach((memory, round) => {
    const control = new RunControl(memory, [{ requestExit() {} }]);
    while (Atomics.load(shared, ${Shared.ROUND}) <= round);
    control.requestExit(round % 100);
    Atomics.store(shared, ${Shared.DONE}, round + 1);
  });
  postMessage("done");
  close();
};
`;

function startThread(source: string, message: unknown): Promise<void> {
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(message);
  });
}

Deno.test("the leader acts when all others rest, and they go on when it restarts", async () => {
  const [cpus, resets] = [4, 50];
  const { memory, control } = build(cpus);
  const shared = new Int32Array(new SharedArrayBuffer(16));
  const threads = Array.from(
    { length: cpus - 1 },
    () => startThread(FOLLOWER, { memory, cpus, words: shared.buffer }),
  );
  const awaitStarts = (wanted: number) => {
    for (let seen; (seen = Atomics.load(shared, Shared.STARTS)) < wanted;) Atomics.wait(shared, Shared.STARTS, seen);
  };
  for (let i = 1; i <= resets; i++) {
    awaitStarts(i * (cpus - 1));
    control.requestReset();
    assertEquals(control.lead(), { kind: "reset", cause: "guest-reset" });
    control.endReset();
    // Nobody runs while the leader acts.
    assertEquals(Atomics.load(shared, Shared.STARTS), i * (cpus - 1));
    if (i === resets) Atomics.store(shared, Shared.STOP, 1);
    control.restart();
  }
  await Promise.all(threads);
});

Deno.test("an exit is never lost, at whatever moment of a reset it comes", async () => {
  const rounds = 300;
  const machines = Array.from({ length: rounds }, () => build());
  const shared = new Int32Array(new SharedArrayBuffer(16));
  const ender = startThread(ENDER, { memories: machines.map(({ memory }) => memory), words: shared.buffer });
  machines.forEach(({ control, attention }, round) => {
    control.requestReset();
    Atomics.store(shared, Shared.ROUND, round + 1);
    // Other lengths of this wait make the exit meet other steps of the restart.
    for (let spin = 0; spin < round * 10; spin++) Atomics.load(shared, Shared.ROUND);
    const ended = control.lead().kind === "exit";
    if (!ended) {
      control.endReset();
      control.restart();
    }
    while (Atomics.load(shared, Shared.DONE) <= round);
    assertEquals(attention(), 1, `round ${round}: nobody is called any more`);
    assertEquals(control.lead(), { kind: "exit", status: round % 100, cause: "guest-shutdown" });
  });
  await ender;
});

Deno.test("all threads have started when each but the leader's has said so", () => {
  const { control } = build(2);
  assertEquals(control.reportStarted(), false);
  assertEquals(control.allStarted, false);
  assertEquals(control.reportStarted(), true, "it is the last one");
  assertEquals(control.allStarted, true);
});

Deno.test("a leader with patience looks up from its rest when nobody wants anything, and when a follower does not come", () => {
  const still = build().control;
  still.requestStop("paused");
  still.enter("paused");
  assertEquals(still.lead(1), undefined);
  const alone = build(2).control;
  alone.requestExit(0);
  assertEquals(alone.lead(1), undefined);
});

Deno.test("a machine ends without a follower whose thread has ended", () => {
  const { control } = build(2);
  control.fail("no vCPU 1");
  control.buryFollower();
  assertEquals(control.lead(), { kind: "failure", message: "no vCPU 1" });
});
