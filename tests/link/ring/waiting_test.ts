import { assert, assertEquals } from "@std/assert";
import { Spinner } from "../../../src/link/ring/waiting.ts";

/** A clock of which each look takes a microsecond, and what was spent on it. */
function timed(longest: number): { spinner: Spinner; spend: (ready?: () => boolean) => number } {
  let time = 1;
  const spinner = new Spinner({ longest, clock: () => time += 1000 });
  const spend = (ready = () => false) => {
    const before = time;
    spinner.spin(ready);
    return time - before;
  };
  return { spinner, spend };
}

Deno.test("what is ready at once costs no look at the clock", () => {
  assertEquals(timed(50_000).spend(() => true), 0);
});

Deno.test("spinning in vain ends with the budget, and halves it", () => {
  const { spend } = timed(64_000);
  const times = Array.from({ length: 4 }, () => spend());
  for (const [i, expected] of [64_000, 32_000, 16_000, 8_000].entries()) {
    assert(times[i] >= expected && times[i] < 2 * expected, `${times}`);
  }
});

Deno.test("after a few times in vain it goes to sleep at once, but for a try now and then", () => {
  const { spend } = timed(64_000);
  for (let i = 0; i < 10; i++) spend();
  const times = Array.from({ length: 10_000 }, () => spend());
  const tries = times.filter((time) => time > 0);
  assert(tries.length > 1 && tries.length < 20, `${tries.length}`);
});

Deno.test("a hit makes the budget whole again", () => {
  const { spend } = timed(64_000);
  for (let i = 0; i < 3; i++) spend();
  let looks = 0;
  spend(() => ++looks === 20);
  assert(spend() >= 64_000);
});

Deno.test("it stops when something else is due, and learns nothing from that", () => {
  const { spinner, spend } = timed(64_000);
  assertEquals(spinner.spin(() => false, 10_000), false);
  assert(spend() >= 64_000);
});

Deno.test("without a budget nobody looks", () => {
  const { spinner } = timed(0);
  let looks = 0;
  for (let i = 0; i < 5000; i++) spinner.spin(() => ++looks > 0);
  assertEquals(looks, 0);
});
