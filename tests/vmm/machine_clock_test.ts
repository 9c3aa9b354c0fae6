import { assert, assertEquals } from "@std/assert";
import { monotonicNow } from "../../src/ffi/clock.ts";
import { GuestTime } from "../../src/vmm/guest_time.ts";
import { MACHINE_CLOCK_SIZE, MachineClock } from "../../src/vmm/machine_clock.ts";

/** Lets the host's clock move on. */
function tick(): void {
  for (const before = monotonicNow(); monotonicNow() <= before + 1e6;);
}

Deno.test("the clock stands still between stop and start, and goes on from there", () => {
  const clock = new MachineClock(new SharedArrayBuffer(MACHINE_CLOCK_SIZE), monotonicNow());
  tick();
  clock.stop();
  const reading = clock.now();
  tick();
  clock.stop();
  assertEquals([clock.now(), clock.stopped], [reading, true]);
  const stoppedFor = monotonicNow();
  clock.start();
  const after = clock.now();
  assert(after >= reading && after - reading <= monotonicNow() - stoppedFor, `${reading} → ${after}`);
  tick();
  clock.start();
  assert(clock.now() > after);
  assert(!clock.stopped);
});

Deno.test("the clock is the same on all threads", () => {
  const memory = new SharedArrayBuffer(MACHINE_CLOCK_SIZE);
  const startedAt = monotonicNow();
  const [here, there] = [new MachineClock(memory, startedAt), new MachineClock(memory, startedAt)];
  tick();
  here.stop();
  assertEquals([there.now(), there.stopped], [here.now(), true]);
  there.start();
  assert(!here.stopped);
});

Deno.test("kvm-clock and the 8254 go on from where they were, and every vCPU is told", () => {
  const calls: unknown[] = [];
  let kvmClock = 1000n;
  const pit = Uint8Array.of(1, 2, 3);
  const time = new GuestTime({
    vm: {
      clock: () => kvmClock,
      setClock: (value: bigint) => void calls.push(value),
      pit: () => pit,
      setPit: (state: Uint8Array) => void calls.push(state),
    },
    vcpus: [{ notePause: () => void calls.push("vcpu 0") }, { notePause: () => void calls.push("vcpu 1") }],
    clock: new MachineClock(new SharedArrayBuffer(MACHINE_CLOCK_SIZE), monotonicNow() - 5),
  });
  time.start();
  assertEquals(calls, []);
  time.stop();
  kvmClock = 5000n;
  time.stop();
  time.start();
  time.start();
  assertEquals(calls, [1000n, pit, "vcpu 0", "vcpu 1"]);
});
