/**
 * Peers that write to the shared memory what they like, at any time: while the other side is idle, and at each step that it takes.
 */
import { assert, assertEquals } from "@std/assert";
import { LinkError } from "../../../src/link/link_error.ts";
import { RingConsumer, type RingTarget } from "../../../src/link/ring/consumer.ts";
import { Header, initializeRing, Lane, laneAt, ringSize, Slot } from "../../../src/link/ring/layout.ts";
import { RingProducer } from "../../../src/link/ring/producer.ts";
import { ShadowReader } from "../../../src/link/ring/shadow.ts";
import { workersEnded } from "../../support/leaks.ts";
import { runs } from "../../support/runs.ts";
import { PlainHost, plainRing, SECOND, SPACES } from "./support.ts";
import { randomNumbers } from "./random.ts";
import { forge, GEOMETRY, scribble, SIZES } from "./scribbles.ts";

/** Steps of each fuzzer. */
const STEPS = runs(2_000_000, 10_000_000);

/** Makes sure that an error is of the link, and in one line. */
function checkRefusal(error: unknown): void {
  if (!(error instanceof LinkError)) throw error;
  assert(/^[^\n]{10,120}$/.test(error.message), error.message);
}

Deno.test("a consumer carries out nothing that was not agreed upon, whatever its memory says", () => {
  const random = randomNumbers(0x1234567);
  let carriedOut = 0, ends = 0, memory = plainRing(GEOMETRY);
  const checkAccess = (space: number, offset: number, size: number) => {
    assert((size === 1 || size === 2 || size === 4) && offset >= 0 && offset + size <= SPACES[space]);
    carriedOut++;
    if (random(4) === 0) scribble(random, memory);
  };
  const target: RingTarget = {
    load(space, offset, size) {
      checkAccess(space, offset, size);
      return random(0x10000);
    },
    store(space, offset, size, value) {
      checkAccess(space, offset, size);
      assert(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size));
    },
    reset: () => void carriedOut++,
  };
  const hook = () => {
    if (random(200) === 0) scribble(random, memory);
  };
  for (let step = 0; step < STEPS;) {
    memory = plainRing(GEOMETRY);
    const consumer = new RingConsumer({ memory, geometry: GEOMETRY, spaces: SPACES, target, wake: () => {}, hook });
    try {
      for (let order = 0; step < STEPS && !consumer.closed; step++) {
        if (random(100) === 0) scribble(random, memory);
        forge(random, memory, order);
        const most = 1 + random(8);
        const before = carriedOut;
        const served = consumer.serve(most);
        assert(served <= most && carriedOut - before <= served);
        order += served;
        if (random(4) === 0 && consumer.announceSleep()) consumer.awake();
      }
    } catch (error) {
      checkRefusal(error);
      ends++;
    }
  }
  assert(carriedOut > STEPS / 4 && ends > STEPS / 10_000, `${carriedOut} requests, ${ends} ends`);
});

/** A thread that changes the memory all the time, until the second word of `control` is set. */
function startScribbler(memory: SharedArrayBuffer, control: Int32Array): Promise<void> {
  const worker = new Worker(new URL("./scribbler_worker.ts", import.meta.url), { type: "module" });
  const ended = new Promise<void>((resolve) => worker.onmessage = () => resolve());
  worker.postMessage({ memory, control });
  return ended;
}

Deno.test("what a consumer checks is what it uses, while another thread changes its memory", async () => {
  const buffer = new SharedArrayBuffer(ringSize(GEOMETRY));
  const memory = { words: new Int32Array(buffer), address: 0n };
  const control = new Int32Array(new SharedArrayBuffer(8));
  const ended = startScribbler(buffer, control);
  let carriedOut = 0;
  const checkAccess = (space: number, offset: number, size: number) => {
    assert((size === 1 || size === 2 || size === 4) && offset >= 0 && offset + size <= SPACES[space]);
    carriedOut++;
  };
  const target: RingTarget = {
    load: (space, offset, size) => (checkAccess(space, offset, size), 0),
    store(space, offset, size, value) {
      checkAccess(space, offset, size);
      assert(value >= 0 && value < 2 ** (8 * size));
    },
    reset() {},
  };
  while (Atomics.load(control, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  for (let looks = 0; looks < STEPS / 4 || carriedOut < STEPS / 400;) {
    memory.words.fill(0);
    initializeRing(memory.words, GEOMETRY);
    const consumer = new RingConsumer({ memory, geometry: GEOMETRY, spaces: SPACES, target, wake: () => {} });
    try {
      for (; looks < STEPS / 4 || carriedOut < STEPS / 400; looks++) consumer.serve(4);
    } catch (error) {
      checkRefusal(error);
    }
  }
  Atomics.store(control, 1, 1);
  await ended;
  await workersEnded();
});

Deno.test("a producer ends its waits, whatever its memory says", () => {
  const random = randomNumbers(0x7654321);
  const shadowRanges = [{ space: 1, offset: 0, length: 16, at: 0 }];
  let answered = 0, ends = 0;
  for (let step = 0; step < STEPS;) {
    const memory = plainRing(GEOMETRY);
    const host = new PlainHost();
    const consumer = new RingConsumer({
      memory,
      geometry: GEOMETRY,
      spaces: SPACES,
      target: { load: () => random(0x10000) * 0x10001, store() {}, reset() {} },
      wake: () => {},
    });
    const lane = random(GEOMETRY.lanes);
    host.meanwhile = () => {
      if (random(50) === 0) scribble(random, memory);
      else if (random(50) !== 0) consumer.serve(1 + random(3));
    };
    const hook = () => {
      if (random(400) === 0) scribble(random, memory);
    };
    const shadow = new ShadowReader(new Uint8Array(memory.words.buffer), shadowRanges);
    const options = { memory, geometry: GEOMETRY, lane, host, deadline: SECOND / 10, shadow, hook };
    const producer = new RingProducer({ ...options, spin: { longest: 0 } });
    try {
      for (; step < STEPS; step++) {
        host.time += random(1e6);
        const size = SIZES[random(3)];
        const before = host.time;
        if (random(3) === 0) {
          const value = producer.load(1, random(64), size);
          assert(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size));
          answered++;
        } else producer.store(1, random(64), size, random(0x10000));
        assert(host.time - before <= SECOND / 5);
        if (random(100) === 0) scribble(random, memory);
      }
    } catch (error) {
      checkRefusal(error);
      ends++;
    }
  }
  assert(answered > STEPS / 10 && ends > STEPS / 10_000, `${answered} answers, ${ends} ends`);
});

Deno.test("each side writes only what is its own to write", () => {
  const memory = plainRing(GEOMETRY);
  const host = new PlainHost();
  const consumer = new RingConsumer({
    memory,
    geometry: GEOMETRY,
    spaces: SPACES,
    target: { load: () => 7, store() {}, reset() {} },
    wake: () => {},
  });
  const base = laneAt(1, GEOMETRY);
  const producer = new RingProducer({ memory, geometry: GEOMETRY, lane: 1, host, deadline: SECOND });
  const changed = (action: () => void) => {
    const before = memory.words.slice();
    action();
    return [...memory.words.keys()].filter((i) => memory.words[i] !== before[i]);
  };
  const slot = base + Lane.SLOTS;
  const posted = changed(() => producer.store(1, 8, 4, 9));
  assertEquals(posted, [
    Header.ORDER,
    base + Lane.HEAD,
    slot + Slot.SEQUENCE,
    slot + Slot.ACCESS,
    slot + Slot.OFFSET,
    slot + Slot.VALUE,
  ]);
  assertEquals(changed(() => void consumer.serve(1)), [base + Lane.TAIL]);
});
