import { assertEquals } from "@std/assert";
import { RestartPolicy } from "../../src/vmm/restart_policy.ts";

/** Lets a process live for a time, and fail: what is decided then. */
function afterLiving(policy: RestartPolicy, clock: { now: number }, time: number) {
  clock.now += time;
  const decision = policy.decide(clock.now);
  policy.begin(clock.now);
  policy.noteStarted(clock.now);
  return decision;
}

Deno.test("a process that is not to be started again is not, without a word", () => {
  assertEquals(new RestartPolicy(0, 0).decide(1), { restart: false, why: undefined });
});

Deno.test("restart=2 is for two starts in the life of a machine, however long the process has lived", () => {
  const [policy, clock] = [new RestartPolicy(2, 0), { now: 0 }];
  assertEquals(afterLiving(policy, clock, 3_600_000), { restart: true, pause: 0 });
  assertEquals(afterLiving(policy, clock, 1), { restart: true, pause: 0 });
  assertEquals(policy.restarts, 2);
  assertEquals(afterLiving(policy, clock, 3_600_000), {
    restart: false,
    why: "it has been 2 times, which is all that restart= allows",
  });
});

Deno.test("restart=on gives up a process that fails five times in a row within 10 s of its start", () => {
  const [policy, clock] = [new RestartPolicy(Infinity, 0), { now: 0 }];
  for (let i = 0; i < 4; i++) assertEquals(afterLiving(policy, clock, 9_999).restart, true);
  assertEquals(afterLiving(policy, clock, 10_000).restart, true, "one that lives for longer begins a new row");
  for (let i = 0; i < 4; i++) assertEquals(afterLiving(policy, clock, 0).restart, true);
  assertEquals(afterLiving(policy, clock, 0), {
    restart: false,
    why: "it has failed 5 times in a row within 10 s of its start",
  });
});

Deno.test("restart=on starts a process that lives a while each time as often as it fails", () => {
  const [policy, clock] = [new RestartPolicy(Infinity, 0), { now: 0 }];
  for (let i = 0; i < 1000; i++) assertEquals(afterLiving(policy, clock, 10_000), { restart: true, pause: 0 });
  assertEquals(policy.restarts, 1000);
});

Deno.test("starts that come to nothing are made ever more slowly, up to 2 s", () => {
  const policy = new RestartPolicy(100, 0);
  const pauses = Array.from({ length: 8 }, () => {
    const decision = policy.decide(0);
    policy.begin(0);
    policy.noteFailedStart();
    return decision.restart && decision.pause;
  });
  assertEquals(pauses, [0, 100, 200, 400, 800, 1600, 2000, 2000]);
  policy.noteStarted(0);
  assertEquals(policy.decide(0), { restart: true, pause: 0 });
});
