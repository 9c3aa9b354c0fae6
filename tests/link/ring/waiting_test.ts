import { assert, assertEquals } from "@std/assert";
import { Spinner } from "../../../src/link/ring/waiting.ts";

/** A clock of which each look takes a microsecond. */
class Timed {
  time = 1;
  /** How often it was told that looking is in vain. */
  vain = 0;
  readonly spinner: Spinner;

  constructor(longest: number) {
    this.spinner = new Spinner({ longest, clock: () => this.time += 1000, onVain: () => this.vain++ });
  }

  /** @returns how long a spin took. */
  spend(ready: () => boolean = () => false): number {
    const before = this.time;
    this.spinner.spin(ready);
    return this.time - before;
  }

  /** A sleep after it. */
  sleep(time: number): void {
    this.time += time;
    this.spinner.woken();
  }

  /** Spins in vain until there is nothing left of the budget. */
  exhaust(): void {
    for (let i = 0; i < 20; i++) this.spend();
    assert(this.spend() <= 1000);
  }
}

Deno.test("what is ready at once costs no look at the clock", () => {
  assertEquals(new Timed(50_000).spend(() => true), 0);
});

Deno.test("spinning in vain ends with the budget, and halves it", () => {
  const timed = new Timed(64_000);
  const times = Array.from({ length: 4 }, () => timed.spend());
  for (const [i, expected] of [64_000, 32_000, 16_000, 8_000].entries()) {
    assert(times[i] >= expected && times[i] < 2 * expected, `${times}`);
  }
});

Deno.test("where sleeps are long it goes to sleep at once", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  for (let i = 0; i < 1000; i++) {
    timed.sleep(1e6);
    assert(timed.spend() <= 1000);
  }
});

Deno.test("a hit makes the budget whole again", () => {
  const timed = new Timed(64_000);
  for (let i = 0; i < 3; i++) timed.spend();
  let looks = 0;
  timed.spend(() => ++looks === 20);
  assert(timed.spend() >= 64_000);
});

Deno.test("a short sleep makes the budget whole again", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  timed.sleep(100_000);
  assert(timed.spend() >= 64_000);
});

Deno.test("where sleeps are short and looking is in vain, it is tried more and more rarely", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  const tries: number[] = [];
  for (let i = 0; i < 2000; i++) {
    timed.sleep(5_000);
    if (timed.spend() > 1000) tries.push(i);
  }
  assertEquals(tries.slice(0, 5), [0, 2, 6, 14, 30]);
  assertEquals(tries.at(-1)! - tries.at(-2)!, 256);
});

Deno.test("after a hit, the next short sleep leads to a try at once", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  for (let i = 0; i < 100; i++) {
    timed.sleep(5_000);
    timed.spend();
  }
  while (!timed.spinner.spin(() => true)) timed.sleep(5_000);
  timed.exhaust();
  timed.sleep(5_000);
  assert(timed.spend() >= 64_000);
});

Deno.test("it stops when something else is due, and learns nothing from that", () => {
  const timed = new Timed(64_000);
  assertEquals(timed.spinner.spin(() => false, 10_000), false);
  assert(timed.spend() >= 64_000);
});

Deno.test("without a budget nobody looks", () => {
  const timed = new Timed(0);
  timed.spinner.noteWakeUp(100_000);
  let looks = 0;
  for (let i = 0; i < 5000; i++) {
    timed.spend(() => ++looks > 0);
    timed.sleep(5_000);
  }
  assertEquals(looks, 0);
});

Deno.test("it is looked for several times as long as a wake-up takes, within limits", () => {
  for (const [wakeUp, longest] of [[1_000, 50_000], [75_000, 300_000], [150_000, 600_000], [9e6, 1e6]]) {
    const timed = new Timed(50_000);
    timed.spinner.noteWakeUp(wakeUp);
    timed.spinner.spin(() => timed.time > 5_000); // a hit, which makes the budget whole
    const spent = timed.spend();
    assert(spent >= longest && spent < longest + 2_000, `${wakeUp}: ${spent}`);
  }
});

Deno.test("one slow wake-up among many changes little", () => {
  const timed = new Timed(50_000);
  for (let i = 0; i < 100; i++) timed.spinner.noteWakeUp(75_000);
  timed.spinner.noteWakeUp(1e6);
  timed.spinner.spin(() => timed.time > 5_000);
  assert(timed.spend() < 600_000);
});

Deno.test("what cannot be the time of a wake-up counts for nothing", () => {
  const timed = new Timed(50_000);
  for (const time of [-1, -4e12, 10e6 + 1, 2e12, undefined]) timed.spinner.noteWakeUp(time);
  timed.spinner.spin(() => timed.time > 5_000);
  assert(timed.spend() < 52_000);
});

Deno.test("where wake-ups are slow, sleeps count as short that are as long as it would be looked", () => {
  const timed = new Timed(50_000);
  timed.spinner.noteWakeUp(150_000);
  timed.exhaust();
  timed.sleep(800_000);
  assert(timed.spend() <= 1_000);
  timed.sleep(700_000);
  assert(timed.spend() >= 600_000);
});

Deno.test("each try in vain after short sleeps is told, once", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  for (let i = 0, tries = 0; i < 2000; i++) {
    timed.sleep(5_000);
    if (timed.spend() > 1000) tries++;
    assertEquals(timed.vain, tries);
  }
  assert(timed.vain > 10);
});

Deno.test("a try that something else cuts short is told once it is over", () => {
  const timed = new Timed(64_000);
  timed.exhaust();
  timed.sleep(5_000);
  for (let i = 0; i < 5; i++) timed.spinner.spin(() => false, timed.time + 5_000);
  assertEquals(timed.vain, 0);
  timed.spend();
  assertEquals(timed.vain, 1);
});

Deno.test("spinning in vain is not told where sleeps are long, or when a try has brought something", () => {
  const timed = new Timed(64_000);
  for (let i = 0; i < 100; i++) {
    timed.exhaust();
    timed.sleep(1e6);
    timed.spend();
    timed.sleep(5_000);
    let looks = 0;
    timed.spend(() => ++looks === 20);
  }
  timed.exhaust();
  assertEquals(timed.vain, 0);
});

Deno.test("without a budget there is nothing in vain", () => {
  const timed = new Timed(0);
  for (let i = 0; i < 5000; i++) {
    timed.spend();
    timed.sleep(5_000);
  }
  assertEquals(timed.vain, 0);
});
