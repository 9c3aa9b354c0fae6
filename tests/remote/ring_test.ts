/** The device process's end of a ring, from the offer to the end of the link. */
import { assert, assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createDoorbell } from "../../src/ffi/doorbell.ts";
import { createEventFd, drainEventFd, Epoll, Ready, signalEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { Offer } from "../../src/link/message.ts";
import { Header, Lane, laneAt, Slot, Space } from "../../src/link/ring/layout.ts";
import { createRingMemory, ringMemory } from "../../src/link/ring/memory.ts";
import { RemoteMachine } from "../../src/remote/remote_machine.ts";
import { forge, GEOMETRY, scribble } from "../link/ring/scribbles.ts";
import { randomNumbers } from "../link/ring/random.ts";
import { leakingNothing } from "../support/leaks.ts";
import { readProc } from "../support/process_tree.ts";
import { latestTestDevice } from "../support/remote_harness.ts";
import { enableBars, OFFER, RingProxy } from "../support/ring_proxy.ts";
import { runs } from "../support/runs.ts";
import { SHADOWED, TestBar, type TestDevice, TestDeviceId, TestRegister } from "../support/test_device.ts";

const { IO, MEMORY } = TestBar;
const RAM_SIZE = 0x10000;

/** What a test body gets. */
interface Fixture {
  readonly machine: RemoteMachine;
  readonly proxy: RingProxy;
  readonly device: TestDevice;
  readonly log: string[];
}

/** How many mappings of rings and shadows this process has. */
function mappings(): number {
  return readProc("/proc/self/maps").split("\n").filter((line) => /memfd:splitvm-(ring|shadow)/.test(line)).length;
}

/** A test body that gets a device process and its proxy, and leaves neither a descriptor nor a mapping behind. */
function withProxy(body: (fixture: Fixture) => void, accelerated = true): () => void {
  return leakingNothing(() => {
    const before = mappings();
    const log: string[] = [];
    const machine = new RemoteMachine((line) => log.push(line));
    const proxy = new RingProxy(machine, "robj0", { accelerated });
    try {
      body({ machine, proxy, device: latestTestDevice(), log });
    } finally {
      proxy.close();
      machine.close();
    }
    assertEquals(mappings(), before);
  });
}

Deno.test(
  "an offer of a ring is taken in the upper half of the answer",
  withProxy(({ proxy }) => {
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, OFFER)), [TestDeviceId.VENDOR, OFFER]);
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, OFFER | 0xff00)), [TestDeviceId.VENDOR, OFFER]);
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2)), [TestDeviceId.VENDOR, 0]);
  }),
);

Deno.test(
  "what is no offer of a ring is answered as QEMU does",
  withProxy(({ proxy }) => {
    for (const word of [0xffffffff, Offer.RING, Offer.MARK, Offer.MARK | 0xfff8, 0x53564d31]) {
      assertEquals(proxy.call((m) => m.setConfigRead(0, 2, word)), [TestDeviceId.VENDOR, 0]);
    }
    assertEquals(proxy.call((m) => m.setConfigRead(0xff, 4, OFFER)), [0xffffffff, 0xffffffff]);
  }),
);

Deno.test(
  "a device process that is not to be accelerated takes no offer, and no ring",
  withProxy(({ machine, proxy, log }) => {
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, OFFER)), [TestDeviceId.VENDOR, 0]);
    proxy.offerRing({ lanes: 1, slots: 8 });
    assertEquals(log, ["remote-object robj0: RING_SETUP: no ring was agreed upon; the link is closed"]);
    assertEquals([machine.size, machine.failed], [0, true]);
  }, false),
);

Deno.test(
  "RING_READY says what is in the shadow, and brings it",
  withProxy(({ proxy, device }) => {
    const { shadow: { layout, reader }, producers: [producer] } = proxy.setUp();
    assertEquals(layout.ranges, [
      { space: Space.CONFIG, offset: 0, length: 0x100, at: 0 },
      { space: MEMORY, offset: 0, length: SHADOWED, at: 0x100 },
    ]);
    assertEquals(reader.read(reader.find(Space.CONFIG, 0, 2), 2), TestDeviceId.VENDOR);
    enableBars(producer);
    producer.store(MEMORY, 4, 4, 0x89abcdef);
    producer.fence();
    assertEquals(reader.read(reader.find(MEMORY, 4, 4), 4), 0x89abcdef);
    assertEquals(device.seen, [["write", MEMORY, 4, 4, 0x89abcdef]]);
  }),
);

Deno.test(
  "loads and stores of every width reach the device in both spaces, in order",
  withProxy(({ proxy, device }) => {
    const { producers: [producer] } = proxy.setUp();
    enableBars(producer);
    for (const bar of [IO, MEMORY]) {
      for (const [size, value] of [[1, 0xa1], [2, 0xa1b2], [4, 0xa1b2c3d4]] as const) {
        device.seen.length = 0;
        producer.store(bar, 0x48, size, value);
        assertEquals(producer.load(bar, 0x48, size), value);
        assertEquals(device.seen, [["write", bar, 0x48, size, value], ["read", bar, 0x48, size, value]]);
      }
    }
  }),
);

Deno.test(
  "posted stores of all lanes arrive in the order in which they were made, whether the process is awake or asleep",
  withProxy(({ proxy, device }) => {
    const { producers } = proxy.setUp({ lanes: 3, slots: 8 });
    enableBars(producers[0]);
    const order = Array.from({ length: 1000 }, (_, i) => (i * 7 + (i >> 3)) % 3);
    order.forEach((lane, i) => producers[lane].store(MEMORY, 0x80 + 4 * lane, 4, i));
    producers[1].fence();
    assertEquals(device.seen.map(([, , offset, , value]) => [(offset - 0x80) / 4, value]), order.map((l, i) => [l, i]));
  }),
);

Deno.test(
  "a BAR answers where and while it is decoded",
  withProxy(({ proxy, device }) => {
    const { producers: [producer] } = proxy.setUp();
    producer.store(MEMORY, 0x80, 4, 1);
    assertEquals(producer.load(MEMORY, 0x80, 4), 0xffffffff);
    assertEquals(device.seen, []);
    enableBars(producer);
    assertEquals(producer.load(MEMORY, 0x80, 4), 0);
    producer.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.IO);
    assertEquals([producer.load(MEMORY, 0x80, 2), producer.load(IO, 0, 1)], [0xffff, 0]);
    producer.store(Space.CONFIG, PciConfig.BAR0, 4, 0);
    assertEquals(producer.load(IO, 0, 1), 0xff);
  }),
);

Deno.test(
  "configuration space is read and written with its masks, at every offset",
  withProxy(({ proxy }) => {
    const { producers: [producer] } = proxy.setUp();
    producer.store(Space.CONFIG, PciConfig.BAR0 + 4, 4, 0xffffffff);
    assertEquals(producer.load(Space.CONFIG, PciConfig.BAR0 + 4, 4), 0x100000000 - TestBar.MEMORY_SIZE);
    producer.store(Space.CONFIG, 0, 4, 0);
    assertEquals(producer.load(Space.CONFIG, 0, 2), TestDeviceId.VENDOR);
    for (let offset = 0; offset <= 0xff; offset++) {
      assertEquals(proxy.call((m) => m.setConfigRead(offset, 1))[0], producer.load(Space.CONFIG, offset, 1));
    }
    assertEquals(producer.load(Space.CONFIG, 0xfd, 2), 0);
  }),
);

Deno.test(
  "reset resets the device after the stores before it, and takes its BARs off the bus",
  withProxy(({ proxy, device }) => {
    const { producers: [producer] } = proxy.setUp();
    enableBars(producer);
    producer.store(MEMORY, TestRegister.PIN, 4, 1);
    producer.reset();
    assertEquals([device.seen.length, device.resets], [1, 1]);
    assertEquals(producer.load(MEMORY, TestRegister.PIN, 4), 0xffffffff);
    assertEquals(producer.load(Space.CONFIG, PciConfig.COMMAND, 2), 0);
  }),
);

Deno.test(
  "plain messages stay legal beside a ring, and see what came over it",
  withProxy(({ proxy }) => {
    const { producers: [producer] } = proxy.setUp();
    enableBars(producer);
    producer.store(MEMORY, 0x80, 4, 0x5eed);
    producer.fence();
    assertEquals(proxy.call((m) => m.setBarRead(0xfebf0080, 4, true)), [0x5eed, 0]);
    assertEquals(proxy.call((m) => m.setBarWrite(0xfebf0080, 4, true, 0xfeed)), [0, 0]);
    assertEquals(producer.load(MEMORY, 0x80, 4), 0xfeed);
    proxy.call((m) => m.setDeviceReset());
    assertEquals(producer.load(MEMORY, 0x80, 4), 0xffffffff);
  }),
);

Deno.test(
  "RAM and interrupts that were announced over the socket are there for the ring after a plain round trip",
  withProxy(({ proxy }) => {
    const { producers: [producer] } = proxy.setUp();
    enableBars(producer);
    const roundTrip = () => void proxy.call((m) => m.setConfigRead(0, 4));
    const [irq, resample] = [createEventFd(), createEventFd()];
    for (let round = 1; round <= 3; round++) {
      const file = createMemoryFile("ram", RAM_SIZE);
      const mapping = mapFile(file, 0, RAM_SIZE);
      mapping.bytes.fill(round, 0x1000, 0x1010);
      producer.store(MEMORY, TestRegister.PIN, 4, 0);
      producer.fence();
      proxy.tell((m) => m.setSyncSysmem([{ gpa: 0, size: RAM_SIZE, offset: 0 }]), [file]);
      proxy.tell((m) => m.setIrqFd(), [irq, resample]);
      roundTrip();
      producer.store(MEMORY, TestRegister.DMA_ADDRESS, 4, 0x1000);
      producer.store(MEMORY, TestRegister.DMA_START, 4, 1);
      assertEquals([producer.load(MEMORY, TestRegister.DMA_START, 4), producer.load(MEMORY, 0, 1)], [1, round]);
      assert(!drainEventFd(irq));
      producer.store(MEMORY, TestRegister.PIN, 4, 1);
      producer.fence();
      assert(drainEventFd(irq));
      mapping.unmap();
      closeFd(file);
    }
    [irq, resample].forEach(closeFd);
  }),
);

Deno.test(
  "timers go on while a ring is never empty",
  withProxy(({ machine, proxy }) => {
    const { producers: [producer] } = proxy.setUp({ lanes: 1, slots: 64 });
    enableBars(producer);
    producer.store(MEMORY, TestRegister.TICKS, 4, 500);
    for (let turn = 0; turn < 500; turn++) {
      for (let i = 0; i < 8; i++) producer.store(MEMORY, 0x80, 4, i);
      machine.turn();
    }
    assertEquals(producer.load(MEMORY, TestRegister.TICKED, 4), 500);
  }),
);

Deno.test(
  "rings of several devices in one process are served side by side, and end each by itself",
  withProxy(({ machine, proxy, device, log }) => {
    const other = new RingProxy(machine, "robj1");
    const otherDevice = latestTestDevice();
    const [{ producers: [first] }, { producers: [second], ring }] = [proxy.setUp(), other.setUp()];
    for (const producer of [first, second]) enableBars(producer);
    for (let i = 0; i < 100; i++) {
      first.store(MEMORY, 0x80, 4, i);
      second.store(MEMORY, 0x80, 4, 1000 + i);
    }
    assertEquals([first.load(MEMORY, 0x80, 4), second.load(MEMORY, 0x80, 4)], [99, 1099]);
    assertEquals([device.seen.length, otherDevice.seen.length], [101, 101]);

    const { words } = ringMemory(ring.memory.mapping);
    const slots = laneAt(0, ring.geometry) + Lane.SLOTS;
    for (let slot = 0; slot < ring.geometry.slots; slot++) words[slots + Slot.WORDS * slot + Slot.SEQUENCE] = 0x1234;
    machine.turn(false);
    assertEquals(machine.size, 1);
    assertEquals(log.length, 1);
    assert(log[0].startsWith("remote-object robj1: ring: a slot of lane 0 has sequence 4660 where "), log[0]);
    assertEquals(first.load(MEMORY, 0x80, 4), 99);
    other.close();
  }),
);

Deno.test(
  "a ring whose proxy goes away ends without a word, requests that are left included",
  withProxy(({ machine, proxy, device, log }) => {
    const { producers: [producer] } = proxy.setUp();
    enableBars(producer);
    producer.store(MEMORY, 0x80, 4, 1);
    proxy.close();
    while (machine.size > 0) machine.turn();
    assertEquals([log, machine.failed, device.closed], [[], false, 1]);
  }),
);

Deno.test(
  "the end of the doorbell alone ends nothing",
  withProxy(({ machine, proxy, device }) => {
    const { ring, producers: [producer] } = proxy.setUp();
    enableBars(producer);
    ring.hangUp();
    proxy.settle();
    assertEquals(machine.size, 1);
    producer.store(MEMORY, 0x80, 4, 7);
    proxy.settle();
    assertEquals(device.seen.length, 1);
    assertEquals(proxy.call((m) => m.setBarRead(0xfebf0080, 4, true)), [7, 0]);
  }),
);

/** Asks for a ring with descriptors that the body makes. @returns what is logged. */
function refusal(
  { machine, proxy, log }: Fixture,
  make: (ring: number, listener: number) => readonly number[],
  geometry = { lanes: 2, slots: 8 },
): string {
  const [ringer, listener] = createDoorbell();
  const { fd: ring, mapping } = createRingMemory(geometry);
  mapping.unmap();
  const given = make(ring, listener);
  proxy.call((m) => m.setConfigRead(0, 4, OFFER));
  proxy.tell((m) => m.setRingSetup(geometry), given);
  for (const fd of new Set([...given, ring, ringer, listener])) closeFd(fd);
  assertEquals([machine.size, machine.failed, log.length], [0, true, 1]);
  return log[0].replace("remote-object robj0: ", "").replace("; the link is closed", "");
}

Deno.test(
  "a ring without an offer before it, and a second one, end the link",
  withProxy((fixture) => {
    const { machine, proxy, log } = fixture;
    proxy.setUp();
    assertEquals(refusal(fixture, (ring, listener) => [ring, listener]), "RING_SETUP: there is a ring already");

    const other = new RingProxy(machine, "robj1");
    const [ringer, listener] = createDoorbell();
    other.tell((m) => m.setRingSetup({ lanes: 1, slots: 8 }), [ringer, listener]);
    assertEquals(log[1], "remote-object robj1: RING_SETUP: no ring was agreed upon; the link is closed");
    [ringer, listener].forEach(closeFd);
    other.close();
  }),
);

const NO_DOORBELL = "RING_SETUP: the descriptor is not one of a doorbell";

/** How RING_SETUP can be given the wrong descriptors, by what is wrong. */
const WRONG_DESCRIPTORS: Record<string, [line: string, make: (ring: number, listener: number) => readonly number[]]> = {
  "no doorbell": [NO_DOORBELL, (ring) => [ring, createEventFd()]],
  "a socket for a doorbell": [NO_DOORBELL, (ring) => {
    const [near, far] = createSocketPair();
    closeFd(far);
    return [ring, near];
  }],
  "the wrong order": [NO_DOORBELL, (ring, listener) => [listener, ring]],
  "no memory": ["ring: the descriptor is not one of a memory file", (_, listener) => [createEventFd(), listener]],
  "memory that can be taken away": [
    "ring: the memory file is not sealed against becoming smaller",
    (_, listener) => [createMemoryFile("ring", 0x10000, false), listener],
  ],
  "too little memory": [
    "ring: the memory file has 4096 bytes, not 8192",
    (_, listener) => [createMemoryFile("ring", 0x1000), listener],
  ],
  "memory that is no ring": [
    "ring: its magic number is 0, not 1735554675",
    (_, listener) => [createMemoryFile("ring", 0x10000), listener],
  ],
};

for (const [what, [line, make]] of Object.entries(WRONG_DESCRIPTORS)) {
  Deno.test(
    `a ring is refused with one line, and nothing of it is kept: ${what}`,
    withProxy((fixture) => {
      const message = refusal(fixture, make, { lanes: 4, slots: 32 });
      assert(message.startsWith(line), message);
    }),
  );
}

Deno.test(
  "a doorbell that rings without end holds nobody up, and ends with its link",
  withProxy(({ machine, proxy, log }) => {
    const { producers: [producer] } = proxy.setUp();
    const other = new RingProxy(machine, "robj1");
    other.call((m) => m.setConfigRead(0, 4, OFFER));
    // Watched level-triggered, and never drained: to answer does not help. The machine is never idle from now on.
    const [epoll, eventFd] = [new Epoll(), createEventFd()];
    epoll.add(eventFd, Ready.IN);
    signalEventFd(eventFd);
    const geometry = { lanes: 1, slots: 8 };
    const { fd: ring, mapping } = createRingMemory(geometry);
    other.channel.outgoing.setRingSetup(geometry);
    other.channel.send(other.channel.outgoing, [ring, epoll.fd]);
    takeTurns(machine, 10);
    other.takeShadow();
    assertEquals(producer.load(Space.CONFIG, 0, 2), TestDeviceId.VENDOR);
    proxy.channel.outgoing.setConfigRead(0, 2);
    proxy.channel.send(proxy.channel.outgoing);
    takeTurns(machine, 10);
    assertEquals([proxy.channel.poll(), proxy.channel.incoming.returnLow], ["message", TestDeviceId.VENDOR]);
    other.close();
    takeTurns(machine, 10);
    assertEquals([machine.size, log, machine.turn(false)], [1, [], false]);
    mapping.unmap();
    epoll.close();
    [ring, eventFd].forEach(closeFd);
  }),
);

function takeTurns(machine: RemoteMachine, count: number): void {
  for (let i = 0; i < count; i++) machine.turn(false);
}

Deno.test(
  "RING_READY is no question",
  withProxy(({ proxy, log }) => {
    const eventFd = createEventFd();
    proxy.tell((m) => m.setRingReady({ size: 4096, ranges: [] }), [eventFd]);
    const why = "RING_READY: a device process asks for nothing that this could answer";
    assertEquals(log, [`remote-object robj0: ${why}; the link is closed`]);
    closeFd(eventFd);
  }),
);

Deno.test(
  "an answer that finds no room brings the shadow when there is some",
  withProxy(({ machine, proxy }) => {
    // Somewhere among these numbers of answers that nobody reads is one that leaves no room for RING_READY.
    for (let answers = 200; answers < 340; answers++) {
      const other = new RingProxy(machine, `robj${answers}`);
      for (let i = 1; i < answers; i++) other.tell((m) => m.setConfigRead(0, 4));
      const ring = other.offerRing({ lanes: 1, slots: 8 }, answers - 1);
      other.takeShadow();
      assertEquals(other.producer(ring, 0).load(Space.CONFIG, 0, 2), TestDeviceId.VENDOR);
      other.close();
      proxy.settle();
      assertEquals(machine.size, 1);
    }
  }),
);

Deno.test("property: a proxy that scribbles on its ring is cut off with one line, and leaves nothing behind", () => {
  const random = randomNumbers(0x13579);
  let ends = 0;
  for (let run = 0; run < runs(50, 2000); run++) {
    withProxy(({ machine, proxy, log }) => {
      const { ring } = proxy.setUp(GEOMETRY);
      const memory = ringMemory(ring.memory.mapping);
      for (let step = 0; step < 300 && machine.size > 0; step++) {
        if (random(20) === 0) scribble(random, memory);
        const tails = Array.from({ length: GEOMETRY.lanes }, (_, i) => memory.words[laneAt(i, GEOMETRY) + Lane.TAIL]);
        forge(random, memory, tails.reduce((sum, tail) => sum + tail, 0));
        machine.turn(false);
      }
      if (machine.size > 0) return;
      ends++;
      assertEquals([machine.failed, log.length], [true, 1]);
      assert(/^remote-object robj0: ring: [^\n]{10,120}; the link is closed$/.test(log[0]), log[0]);
    })();
  }
  assert(ends > 0);
});

Deno.test(
  "words of the header that a proxy changes afterwards have no effect on what is served",
  withProxy(({ machine, proxy }) => {
    const { ring, producers: [producer] } = proxy.setUp();
    const { words } = ringMemory(ring.memory.mapping);
    words[Header.LANES] = words[Header.SLOTS] = words[Header.MAGIC] = 0x7fffffff;
    assertEquals(producer.load(Space.CONFIG, 0, 2), TestDeviceId.VENDOR);
    assertEquals(machine.size, 1);
  }),
);

Deno.test(
  "a device process is told that it takes another's place, if it has agreed to that",
  withProxy(({ machine, proxy, device, log }) => {
    const offer = Offer.MARK | Offer.RESTART;
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, offer)), [TestDeviceId.VENDOR, offer]);
    proxy.call((m) => m.setConfigWrite(PciConfig.BAR0 + 4 * TestBar.MEMORY, 4, 0xfebf0000));
    proxy.call((m) => m.setConfigWrite(PciConfig.COMMAND, 2, PciCommand.MEMORY | PciCommand.MASTER));
    assertEquals(proxy.call((m) => m.setDeviceRestarted()), [0, 0]);
    assertEquals([device.restarts, machine.failed, log], [1, false, []]);
  }),
);

Deno.test(
  "a proxy that says so without having agreed to it is cut off",
  withProxy(({ machine, proxy, device, log }) => {
    proxy.tell((m) => m.setDeviceRestarted());
    assertEquals([device.restarts, machine.failed], [0, true]);
    assertEquals(log, ["remote-object robj0: DEVICE_RESTARTED: that was not agreed upon; the link is closed"]);
  }),
);
