/**
 * Peers that write to the shared memory what they like, at any time: while the other side is idle, and at each step that it takes.
 */
import { assert, assertEquals } from "@std/assert";
import { LinkError } from "../../../src/link/link_error.ts";
import { RingConsumer, type RingTarget } from "../../../src/link/ring/consumer.ts";
import { Header, Lane, laneAt, type RingMemory, Slot } from "../../../src/link/ring/layout.ts";
import { RingProducer } from "../../../src/link/ring/producer.ts";
import { ShadowReader } from "../../../src/link/ring/shadow.ts";
import { runs } from "../../support/runs.ts";
import { PlainHost, plainRing, SECOND, SPACES } from "./support.ts";
import { randomNumbers } from "./random.ts";

const GEOMETRY = { lanes: 3, slots: 4 };
const SIZES = [1, 2, 4] as const;

/** Steps of each fuzzer. */
const STEPS = runs(300_000, 10_000_000);

type Random = (below: number) => number;

/** A word for somewhere: often one that means something there, or is next to it. */
function someWord(random: Random, { words }: RingMemory): number {
  switch (random(5)) {
    case 0:
      return random(0x10000) * 0x10000 + random(0x10000);
    case 1:
      return random(16) - 8;
    case 2:
      return words[random(words.length)];
    case 3:
      return words[laneAt(random(GEOMETRY.lanes), GEOMETRY) + Lane.TAIL] + random(7) - 3;
    default:
      return random(7) | (1 << random(4) << 8) | (random(9) << 16) | (random(50) === 0 ? 1 << 25 : 0);
  }
}

/** A place: any, or one that is looked at. */
function somePlace(random: Random, { words }: RingMemory): number {
  const lane = laneAt(random(GEOMETRY.lanes), GEOMETRY);
  switch (random(8)) {
    case 0:
      return random(words.length);
    case 1:
      return [Header.ORDER, Header.ASLEEP][random(2)];
    case 2:
      return lane + [Lane.HEAD, Lane.WAITING, Lane.TARGET, Lane.TAIL, Lane.VALUE][random(5)];
    default:
      return lane + Lane.SLOTS + Slot.WORDS * random(GEOMETRY.slots) + random(5);
  }
}

function scribble(random: Random, memory: RingMemory): void {
  for (let i = random(3); i >= 0; i--) memory.words[somePlace(random, memory)] = someWord(random, memory);
}

/** A request as a producer would make it, or nearly so. */
function forge(random: Random, memory: RingMemory, order: number): void {
  const lane = laneAt(random(GEOMETRY.lanes), GEOMETRY);
  const tail = memory.words[lane + Lane.TAIL];
  const slot = lane + Lane.SLOTS + Slot.WORDS * (tail & (GEOMETRY.slots - 1));
  memory.words[slot + Slot.ACCESS] = random(30) === 0
    ? someWord(random, memory)
    : 1 + random(2) | SIZES[random(3)] << 8 | (random(20) === 0 ? 6 : 1) << 16;
  memory.words[slot + Slot.OFFSET] = random(30) === 0 ? someWord(random, memory) : random(0xfd);
  memory.words[slot + Slot.VALUE] = someWord(random, memory);
  memory.words[slot + Slot.ORDER] = order + (random(40) === 0 ? random(5) - 2 : 0);
  memory.words[slot + Slot.SEQUENCE] = tail;
}

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
      for (let order = 0; step < STEPS; step++) {
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

Deno.test("a producer ends its waits, whatever its memory says", () => {
  const random = randomNumbers(0x7654321);
  const shadowRanges = [{ space: 1, offset: 0, length: 16 }];
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
