import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { LinkError } from "../../../src/link/link_error.ts";
import { doorbellTime, Header, Lane, laneAt, markClosed, RequestKind, Slot } from "../../../src/link/ring/layout.ts";
import { RingConsumer } from "../../../src/link/ring/consumer.ts";
import { RingProducer } from "../../../src/link/ring/producer.ts";
import { StallWatch } from "../../../src/link/ring/stall_watch.ts";
import { BAR, NotedDevice, PlainHost, plainPair, plainRing, SECOND, SPACES } from "./support.ts";

function failure(attempt: () => unknown): LinkError {
  return assertThrows(attempt, LinkError) as LinkError;
}

Deno.test("a load is answered by the device", () => {
  const { producers: [producer], device } = plainPair();
  device.answer = 0xfedcba98;
  assertEquals(producer.load(BAR, 0x10, 4), 0xfedcba98);
  assertEquals(producer.load(BAR, 0x12, 2), 0xba98);
  assertEquals(producer.load(BAR, 0xff, 1), 0x98);
  assertEquals(device.log, ["load 1:16/4", "load 1:18/2", "load 1:255/1"]);
});

Deno.test("stores are posted, and arrive in order before the load that follows them", () => {
  const { producers: [producer], device, host } = plainPair();
  producer.store(BAR, 0, 4, 0xffffffff);
  producer.store(BAR, 4, 2, 0x12345);
  producer.store(6, 8, 1, -1);
  assertEquals([device.log.length, host.sleeps], [0, 0]);
  producer.load(BAR, 0, 4);
  assertEquals(device.log, ["store 1:0/4=4294967295", "store 1:4/2=9029", "store 6:8/1=255", "load 1:0/4"]);
});

Deno.test("reset and fence wait for what comes before them", () => {
  const { producers: [producer], device } = plainPair();
  producer.store(BAR, 0, 4, 1);
  producer.reset();
  assertEquals(device.log, ["store 1:0/4=1", "reset"]);
  producer.store(BAR, 0, 4, 2);
  producer.fence();
  assertEquals(device.log.length, 3);
});

Deno.test("a full lane makes its vCPU wait, and loses nothing", () => {
  const { producers: [producer], device, host } = plainPair({ slots: 4 });
  for (let i = 0; i < 4; i++) producer.store(BAR, 0, 4, i);
  assertEquals(host.sleeps, 0);
  for (let i = 4; i < 100; i++) producer.store(BAR, 0, 4, i);
  producer.fence();
  assertEquals(device.log, Array.from({ length: 100 }, (_, i) => `store 1:0/4=${i}`));
});

Deno.test("requests of several lanes are carried out in the order in which they were made", () => {
  const { producers, consumer, device } = plainPair({ lanes: 3 });
  const order = [2, 0, 0, 1, 2, 1, 0, 2, 2, 1];
  order.forEach((lane, i) => producers[lane].store(BAR, 4 * lane, 4, i));
  while (consumer.serve(1) > 0);
  assertEquals(device.log, order.map((lane, i) => `store 1:${4 * lane}/4=${i}`));
});

Deno.test("a request is not carried out while one that was numbered before it is not published", () => {
  const { producers, consumer, device, memory, geometry } = plainPair({ lanes: 2 });
  const slot = laneAt(0, geometry) + Lane.SLOTS;
  producers[0].store(BAR, 0, 4, 1);
  producers[1].store(BAR, 0, 4, 2);
  memory.words[slot + Slot.SEQUENCE] = -8; // as if the first producer had been held up here
  assertEquals([consumer.serve(10), consumer.pending], [0, false]);
  memory.words[slot + Slot.SEQUENCE] = 0;
  assertEquals(consumer.serve(10), 2);
  assertEquals(device.log, ["store 1:0/4=1", "store 1:0/4=2"]);
});

Deno.test("serving stops after as many requests as it is told", () => {
  const { producers: [producer], consumer } = plainPair();
  for (let i = 0; i < 5; i++) producer.store(BAR, 0, 4, i);
  assertEquals([consumer.serve(3), consumer.serve(3), consumer.serve(3)], [3, 2, 0]);
});

Deno.test("counts of requests wrap around", () => {
  const geometry = { lanes: 1, slots: 8 };
  const first = 0x7fffffff - 3;
  const memory = plainRing(geometry, first);
  const device = new NotedDevice();
  const host = new PlainHost();
  const producer = new RingProducer({ memory, geometry, lane: 0, host, deadline: SECOND, first });
  const consumer = new RingConsumer({ memory, geometry, spaces: SPACES, target: device, wake: () => {}, first });
  host.meanwhile = () => void consumer.serve(100);
  for (let i = 0; i < 100; i++) {
    producer.store(BAR, 0, 4, i);
    if (i % 20 === 19) producer.load(BAR, 0, 4);
  }
  assertEquals(device.log.length, 105);
  assertEquals(memory.words[laneAt(0, geometry) + Lane.TAIL], (first + 105) | 0);
});

Deno.test("a consumer that is awake is not rung for; one that sleeps is, once", () => {
  const { producers: [producer], consumer, host } = plainPair();
  producer.store(BAR, 0, 4, 1);
  assertEquals(host.rings, 0);
  consumer.serve(10);
  assert(consumer.announceSleep());
  producer.store(BAR, 0, 4, 2);
  producer.store(BAR, 0, 4, 3);
  assertEquals(host.rings, 1);
  consumer.awake();
  producer.store(BAR, 0, 4, 4);
  assertEquals(host.rings, 1);
});

Deno.test("a consumer learns when it was rung for, if it was", () => {
  const { producers: [producer], consumer, host } = plainPair();
  assert(consumer.announceSleep());
  assertEquals(consumer.awake(), undefined);
  for (const time of [5_000_000, 2 ** 32 * 1000 + 7_000_000]) { // nanoseconds; the ring has microseconds, which wrap around
    assert(consumer.announceSleep());
    host.time = time;
    producer.store(BAR, 0, 4, 1);
    const rungAt = consumer.awake();
    assert(rungAt !== undefined && rungAt > time / 1000 % 2 ** 32 && rungAt <= doorbellTime(host.time), `${rungAt}`);
    consumer.serve(10);
  }
  assertEquals(doorbellTime(2 ** 31 * 1000 + 999), -(2 ** 31));
});

Deno.test("a consumer does not fall asleep over a request", () => {
  const { producers: [producer], consumer, host } = plainPair();
  producer.store(BAR, 0, 4, 1);
  assertEquals(consumer.announceSleep(), false);
  producer.store(BAR, 0, 4, 2);
  assertEquals(host.rings, 0);
});

Deno.test("a sleeping producer is woken when its load is done, not for the stores before it", () => {
  const geometry = { lanes: 1, slots: 8 };
  const memory = plainRing(geometry);
  const host = new PlainHost();
  const events: string[] = [];
  const consumer = new RingConsumer({
    memory,
    geometry,
    spaces: SPACES,
    target: { load: () => (events.push("load"), 0), store: () => void events.push("store"), reset() {} },
    wake: (address) => void events.push(`wake ${address}`),
  });
  host.meanwhile = () => void consumer.serve(10);
  const producer = new RingProducer({ memory, geometry, lane: 0, host, deadline: SECOND, spin: { longest: 0 } });
  producer.store(BAR, 0, 4, 1);
  producer.store(BAR, 0, 4, 1);
  producer.load(BAR, 0, 4);
  assertEquals(events, ["store", "store", "load", `wake ${4 * (laneAt(0, geometry) + Lane.TAIL)}`]);
});

Deno.test("a load without an answer ends the link at the deadline, and for good", () => {
  const { producers: [producer], host } = plainPair({ deadline: 100e6 });
  host.meanwhile = () => {};
  const before = host.time;
  const error = failure(() => producer.load(BAR, 0, 4));
  assertEquals([error.message, error.failure], ["an access has had no answer for 100 ms", "timeout"]);
  assert(host.time - before >= 100e6 && host.time - before < 120e6);
  for (const access of [() => producer.load(BAR, 0, 4), () => producer.store(BAR, 0, 4, 0), () => producer.settled]) {
    assertStrictEquals(failure(access), error);
  }
});

Deno.test("a lane that stays full ends the link at the deadline", () => {
  const { producers: [producer], host } = plainPair({ deadline: 100e6, slots: 4 });
  host.meanwhile = () => {};
  for (let i = 0; i < 4; i++) producer.store(BAR, 0, 4, i);
  const { message } = failure(() => producer.store(BAR, 0, 4, 4));
  assertEquals(message, "its queue of posted writes has been full for 100 ms");
});

Deno.test("a posted store that grows old ends the link", () => {
  const { producers: [producer], host } = plainPair({ deadline: 100e6, slots: 64 });
  let posted = 0;
  const error = failure(() => {
    for (; posted < 64; posted++, host.time += 10e6) producer.store(BAR, 0, 4, posted);
  });
  assertEquals(error.message, "a posted write has not been carried out for 100 ms");
});

Deno.test("stores that are carried out late but in time do no harm", () => {
  const { producers: [producer], host, consumer } = plainPair({ deadline: 100e6, slots: 64 });
  for (let i = 0; i < 500; i++, host.time += 10e6) {
    producer.store(BAR, 0, 4, i);
    if (i % 8 === 7) consumer.serve(8);
  }
});

Deno.test("the stall watch finds a store that nobody waits for", () => {
  const { producers: [, second], memory, geometry, consumer } = plainPair({ lanes: 2 });
  const watch = new StallWatch(memory, geometry, 10 * SECOND);
  assertEquals(watch.check(1 * SECOND), undefined);
  second.store(BAR, 0, 4, 1);
  for (let time = 2; time < 12; time++) assertEquals(watch.check(time * SECOND), undefined);
  assertEquals(watch.check(12 * SECOND)?.message, "a posted write has not been carried out for 10000 ms");
  consumer.serve(1);
  assertEquals(watch.check(13 * SECOND), undefined);
});

Deno.test("the stall watch leaves a device alone that goes on, however much is posted to it", () => {
  const { producers: [producer], memory, geometry, consumer } = plainPair();
  const watch = new StallWatch(memory, geometry, 10 * SECOND);
  for (let time = 0; time < 100; time++) {
    producer.store(BAR, 0, 4, time);
    producer.store(BAR, 0, 4, time);
    assertEquals(watch.check(time * SECOND), undefined);
    consumer.serve(time % 5 === 0 ? 10 : 0);
  }
});

Deno.test("time in which the stall watch was not there itself is no time that the device had", () => {
  const { producers: [producer], memory, geometry } = plainPair();
  const watch = new StallWatch(memory, geometry, 10 * SECOND);
  producer.store(BAR, 0, 4, 1);
  for (const time of [0, 1, 1000, 2000, 3000]) assertEquals(watch.check(time * SECOND), undefined);
});

Deno.test("nothing is carried out any more once the VMM has given the device up", () => {
  const { producers: [producer], consumer, memory, device } = plainPair();
  producer.store(BAR, 0, 4, 1);
  markClosed(memory.words);
  assertEquals([consumer.pending, consumer.serve(10), device.log], [false, 0, []]);
  assertEquals(consumer.announceSleep(), true);
});

Deno.test("a producer that cannot be woken ends its link, and nothing else", () => {
  const wake = () => {
    throw new Error("EINVAL");
  };
  const { memory, geometry, consumer } = plainPair({ wake });
  const lane = laneAt(0, geometry);
  [memory.words[lane + Lane.WAKE_AT], memory.words[lane + Lane.WAITING]] = [1, 1];
  memory.words[lane + Lane.SLOTS + Slot.ACCESS] = RequestKind.FENCE;
  memory.words[lane + Lane.SLOTS + Slot.SEQUENCE] = 0;
  assertEquals(failure(() => consumer.serve(1)).message, "ring: the producer of lane 0 cannot be woken");
});

Deno.test("a store that is waited for is done afterwards", () => {
  const { producers: [producer], device } = plainPair();
  producer.storeAndWait(BAR, 8, 2, 0x1234);
  assertEquals([device.log, producer.settled], [["store 1:8/2=4660"], true]);
});

Deno.test("the end of the peer's process ends a wait before the deadline", () => {
  const { producers: [producer], host } = plainPair();
  host.meanwhile = () => void (host.there = false);
  const error = failure(() => producer.load(BAR, 0, 4));
  assertEquals([error.message, error.failure], ["the peer closed the link", "closed"]);
  assertEquals(host.sleeps, 1);
});

Deno.test("what a load brought before the peer's end is still its answer", () => {
  const { producers: [producer], host, consumer, device } = plainPair();
  host.meanwhile = () => {
    consumer.serve(1);
    host.there = false;
  };
  assertEquals(producer.load(BAR, 0, 4), device.answer);
});

Deno.test("what a peer does last of all, while it is looked whether it is there, still counts", () => {
  const { producers: [producer], host, consumer, device } = plainPair();
  host.meanwhile = () => {};
  host.isPeerThere = () => {
    consumer.serve(1);
    return false;
  };
  assertEquals(producer.load(BAR, 0, 4), device.answer);
});

Deno.test("that nobody hears the bell any more shows at the next load", () => {
  const { producers: [producer], host, consumer } = plainPair();
  assert(consumer.announceSleep());
  host.there = false;
  host.meanwhile = () => {};
  producer.store(BAR, 0, 4, 1);
  assertEquals(host.rings, 1);
  assertEquals(failure(() => producer.load(BAR, 0, 4)).failure, "closed");
});

Deno.test("a lane that is not new, since the peer has written to it, fails when it is used", () => {
  const { producers: [producer], consumer, memory, geometry, host } = plainPair();
  producer.store(BAR, 0, 4, 1);
  consumer.serve(1);
  const again = new RingProducer({ memory, geometry, lane: 0, host, deadline: SECOND });
  assertEquals(failure(() => again.store(BAR, 0, 4, 1)).message, "ring: lane 0 is not new");
});

for (const tail of [-1, 2, 0x7fffffff, -0x80000000]) {
  Deno.test(`a peer that says it has carried out ${tail} of one request is cut off`, () => {
    const { producers: [producer], memory, geometry, host } = plainPair();
    host.meanwhile = () => void (memory.words[laneAt(0, geometry) + Lane.TAIL] = tail);
    const error = failure(() => producer.load(BAR, 0, 4));
    assertEquals([error.message, error.failure], [
      `ring: the peer says that ${tail} of 1 requests are done`,
      "protocol",
    ]);
  });
}

/** What a consumer says of a slot that a hostile producer has written. */
function refusal(change: (slot: Int32Array, words: Int32Array) => void): string {
  const { producers: [producer], consumer, memory, geometry, device } = plainPair();
  producer.store(BAR, 0, 4, 1);
  change(memory.words.subarray(laneAt(0, geometry) + Lane.SLOTS), memory.words);
  const error = failure(() => consumer.serve(10));
  assertStrictEquals(failure(() => consumer.serve(10)), error);
  assertEquals([device.log, consumer.pending, consumer.announceSleep()], [[], true, false]);
  return error.message;
}

for (
  const [field, value, line] of [
    [Slot.SEQUENCE, 5, "ring: a slot of lane 0 has sequence 5 where 0 is next"],
    [Slot.SEQUENCE, -7, "ring: a slot of lane 0 has sequence 4294967289 where 0 is next"],
    [Slot.ORDER, -1, "ring: request 0 of lane 0 has number 4294967295 where 0 is next"],
    [Slot.ORDER, 8, "ring: request 0 of lane 0 has number 8 where 0 is next"],
    [Slot.ACCESS, 0, "ring: there is no access of kind 0 and 0 bytes"],
    [Slot.ACCESS, 0x010405, "ring: there is no access of kind 5 and 4 bytes"],
    [Slot.ACCESS, 0x010302, "ring: there is no access of kind 2 and 3 bytes"],
    [Slot.ACCESS, 0x010802, "ring: there is no access of kind 2 and 8 bytes"],
    [Slot.ACCESS, 0x010403, "ring: there is no access of kind 3 and 4 bytes"],
    [Slot.ACCESS, 0x070402, "ring: an access of 4 bytes at offset 0x0 of space 7 lies outside"],
    [Slot.ACCESS, 0x000402, "ring: an access of 4 bytes at offset 0x0 of space 0 lies outside"],
    [Slot.ACCESS, 0x01010402, "ring: an access of 4 bytes at offset 0x0 of space 257 lies outside"],
    [Slot.OFFSET, 0xfd, "ring: an access of 4 bytes at offset 0xfd of space 1 lies outside"],
    [Slot.OFFSET, -1, "ring: an access of 4 bytes at offset 0xffffffff of space 1 lies outside"],
  ] as const
) {
  Deno.test(`a request is refused with one line: ${line}`, () => {
    assertEquals(refusal((slot) => void (slot[field] = value)), line);
  });
}

Deno.test("what the header says after the start is of no interest", () => {
  const { producers: [producer], memory, device } = plainPair();
  memory.words.fill(-1, Header.MAGIC, Header.SLOTS + 1);
  assertEquals(producer.load(BAR, 0, 4), device.answer);
});
