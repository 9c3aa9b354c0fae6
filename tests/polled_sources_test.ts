import { assert } from "@std/assert";
import { Spinner } from "../src/link/ring/waiting.ts";
import { type PolledSource, PolledSources } from "../src/polled_sources.ts";

/** A source that never has anything, and says what it is told about its wake-ups. */
class Idle implements PolledSource {
  wakeUp: number | undefined;
  readonly pending = false;

  serve(): boolean {
    return false;
  }

  announceSleep(): boolean {
    return true;
  }

  awake(): number | undefined {
    return this.wakeUp;
  }
}

Deno.test("where a source's wake-ups are slow, it is looked for longer before the next sleep", () => {
  let time = 1;
  let found = false;
  const spinner = new Spinner({ longest: 50_000, clock: () => time += 1000 });
  const sources = new PolledSources(() => found, spinner);
  const source = new Idle();
  sources.add(source);
  /** How long a spin in vain takes, of a budget that is whole. */
  const longest = () => {
    found = true;
    assert(sources.spin(Infinity));
    found = false;
    const before = time;
    assert(!sources.spin(Infinity));
    return time - before;
  };
  const sleep = () => sources.announceSleep() && sources.awake();
  sleep();
  assert(longest() < 60_000);
  source.wakeUp = 100_000;
  sleep();
  assert(longest() >= 400_000);
});
