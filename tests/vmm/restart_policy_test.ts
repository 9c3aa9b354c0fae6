import { assertEquals } from "@std/assert";
import { RestartPolicy } from "../../src/vmm/restart_policy.ts";

/** Lets a process live for a time, and be lost: what is decided then. Another one follows it at once. */
function afterLiving(policy: RestartPolicy, clock: { now: number }, time: number) {
  clock.now += time;
  const decision = policy.lost(clock.now);
  if (decision.restart) policy.served(clock.now);
  return decision;
}

Deno.test("a process that is not to be started again is not, without a word", () => {
  assertEquals(new RestartPolicy(0, 0).lost(1), { restart: false, why: undefined });
});

Deno.test("restart=2 is for two processes in the place of others in the life of a machine, however long they have lived", () => {
  const [policy, clock] = [new RestartPolicy(2, 0), { now: 0 }];
  assertEquals(afterLiving(policy, clock, 3_600_000), { restart: true, pause: 0 });
  assertEquals(afterLiving(policy, clock, 1), { restart: true, pause: 0 });
  assertEquals(policy.restarts, 2);
  assertEquals(afterLiving(policy, clock, 3_600_000), {
    restart: false,
    why: "it has been started again 2 times, which is all that restart= allows",
  });
});

Deno.test("restart=1 is for one", () => {
  const [policy, clock] = [new RestartPolicy(1, 0), { now: 0 }];
  assertEquals(afterLiving(policy, clock, 1), { restart: true, pause: 0 });
  assertEquals(afterLiving(policy, clock, 1), {
    restart: false,
    why: "it has been started again once, which is all that restart= allows",
  });
});

Deno.test("restart=on gives up a process that is lost five times in a row within 10 s of its start", () => {
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

Deno.test("starts that come to nothing are made ever more slowly, up to 2 s, and anew for the next loss", () => {
  const policy = new RestartPolicy(100, 0);
  policy.lost(0);
  const pauses = Array.from({ length: 7 }, () => {
    const decision = policy.startFailed(0);
    return decision.restart && decision.pause;
  });
  assertEquals(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
  policy.served(0);
  assertEquals(policy.lost(0), { restart: true, pause: 0 });
  assertEquals(policy.startFailed(0), { restart: true, pause: 100 });
});

Deno.test("restart=on tries starts that come to nothing without end, and they are no sign of a process that fails at once", () => {
  const [policy, clock] = [new RestartPolicy(Infinity, 0), { now: 0 }];
  for (let i = 0; i < 3; i++) assertEquals(afterLiving(policy, clock, 1).restart, true);
  policy.lost(clock.now);
  for (let i = 0; i < 50_000; i++) assertEquals(policy.startFailed(clock.now += 2_000).restart, true);
  policy.served(clock.now);
  assertEquals(policy.restarts, 4);
});

Deno.test("restart=2 is not used up by starts that come to nothing", () => {
  const policy = new RestartPolicy(2, 0);
  policy.lost(0);
  for (let i = 0; i < 10; i++) assertEquals(policy.startFailed(i).restart, true);
  assertEquals(policy.restarts, 0);
  policy.served(11);
  assertEquals([policy.restarts, policy.lost(12).restart], [1, true]);
});

Deno.test("restart=2 gives up starts that come to nothing after 60 s", () => {
  const policy = new RestartPolicy(2, 0);
  policy.lost(1_000);
  assertEquals(policy.startFailed(60_999).restart, true);
  assertEquals(policy.startFailed(61_000), { restart: false, why: "no start has succeeded for 60 s" });
});
