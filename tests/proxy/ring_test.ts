import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, type Mapping } from "../../src/ffi/memory.ts";
import { closeAll } from "../../src/ffi/socket.ts";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { Offer } from "../../src/link/message.ts";
import { RingConsumer } from "../../src/link/ring/consumer.ts";
import { Space } from "../../src/link/ring/layout.ts";
import { createShadowMemory, mapRing, ringMemory } from "../../src/link/ring/memory.ts";
import type { ShadowRange } from "../../src/link/ring/shadow.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy, type ProxyHandle } from "../../src/proxy/pci_proxy.ts";
import { leakingNothing } from "../support/leaks.ts";
import { FakePeer, RecordingMachine } from "./support/fake_peer.ts";

const RING = Offer.MARK | Offer.RING;
const BAR = { index: 1, space: "memory", size: 0x400 } as const;
const SHADOW_SIZE = 4096;
const RANGES: readonly ShadowRange[] = [
  { space: Space.CONFIG, offset: 0, length: 256, at: 0 },
  { space: Space.BAR0 + 1, offset: 0x10, length: 8, at: 256 },
];

/** How many messages a greeting takes until the ring's: six BARs of four each, the interrupt pin, and SET_IRQFD. */
const GREETING = 6 * 4 + 2;

/** Answers the greeting as a device does that has a memory BAR and serves a ring. */
function answerGreeting(peer: FakePeer): void {
  for (let i = 0; i < 6; i++) peer.reply(0, 0, i === BAR.index ? 0xfffffc00 : 0, 0);
  peer.reply(0x100);
}

/** A device at the other end of a ring, on the same thread: it does what was posted when it is told to. */
class RingPeer {
  readonly done: string[] = [];
  readonly consumer: RingConsumer;
  readonly #mapping: Mapping;
  readonly #doorbell: number;

  constructor(peer: FakePeer) {
    const { geometry, ring, doorbell } = peer.takeRing();
    this.#doorbell = doorbell;
    this.#mapping = mapRing(ring, geometry);
    closeFd(ring);
    const spaces = new Array(Space.COUNT).fill(0);
    spaces[Space.CONFIG] = 256;
    spaces[Space.BAR0 + BAR.index] = BAR.size;
    this.consumer = new RingConsumer({
      memory: ringMemory(this.#mapping),
      geometry,
      spaces,
      target: {
        load: () => 0,
        store: (space, offset, size, value) => void this.done.push(`${space}:${offset}/${size}=${value}`),
        reset: () => void this.done.push("reset"),
      },
    });
  }

  close(): void {
    closeFd(this.#doorbell);
    this.#mapping.unmap();
  }
}

/** Closes what a proxy has beside its link. */
function closeProxy({ interrupt, ring }: ProxyHandle): void {
  closeInterruptFds(interrupt);
  if (ring !== undefined) closeFd(ring.doorbell);
}

interface Scene {
  readonly peer: FakePeer;
  readonly ring: RingPeer;
  readonly shadow: Uint8Array;
  readonly machine: RecordingMachine;
  readonly handle: ProxyHandle;
  readonly proxy: PciProxy;
}

/** A test with a proxy over a ring of two lanes, its own the first. @param timeout Milliseconds. @default {50} */
function withRing(body: (scene: Scene) => void, timeout = 50): () => void {
  return leakingNothing(() => {
    const [peer, machine, shadow] = [new FakePeer(), new RecordingMachine(), createShadowMemory(SHADOW_SIZE)];
    peer.answerToOffers = RING;
    answerGreeting(peer);
    peer.send((message) => message.setRingReady({ size: SHADOW_SIZE, ranges: RANGES }), [shadow.fd]);
    const handle = connectProxy("lsi0", peer.fd, { lanes: 2, timeout });
    peer.requests(GREETING);
    const ring = new RingPeer(peer);
    try {
      const proxy = new PciProxy(handle, machine, 0);
      body({ peer, ring, machine, handle, proxy, shadow: shadow.mapping.bytes });
    } finally {
      ring.close();
      closeProxy(handle);
      closeFd(shadow.fd);
      shadow.mapping.unmap();
      peer.dispose();
    }
  });
}

Deno.test(
  "a peer that does not answer the offer never hears of a ring",
  leakingNothing(() => {
    for (const answer of [0, 0xffffffff, 1, Offer.MARK]) {
      const peer = new FakePeer();
      peer.answerToOffers = answer >>> 0;
      answerGreeting(peer);
      const handle = connectProxy("lsi0", peer.fd, { lanes: 1 });
      assertEquals(handle.ring, undefined, `0x${answer.toString(16)}`);
      assertEquals(peer.requests().length, GREETING);
      assertEquals(new PciProxy(handle, new RecordingMachine(), 0).concurrent, false);
      closeProxy(handle);
      peer.dispose();
    }
  }),
);

Deno.test(
  "without lanes nothing is offered, and an answer to no offer is none",
  leakingNothing(() => {
    const peer = new FakePeer();
    peer.answerToOffers = RING;
    answerGreeting(peer);
    const handle = connectProxy("lsi0", peer.fd);
    assertEquals(handle.ring, undefined);
    closeProxy(handle);
    peer.dispose();
  }),
);

Deno.test(
  "stores to a BAR are posted: they need no reply, and arrive in order",
  withRing(({ proxy, ring, peer }) => {
    for (let i = 0; i < 10; i++) proxy.writeBar(BAR, 4 * i, 4, i);
    assertEquals(ring.done, []);
    ring.consumer.serve(100);
    assertEquals(ring.done, Array.from({ length: 10 }, (_, i) => `1:${4 * i}/4=${i}`));
    assertEquals(peer.requests(), []);
    assertEquals([proxy.concurrent, proxy.failed], [true, false]);
  }),
);

Deno.test(
  "what lies in the shadow is read there, when nothing is under way in any lane",
  withRing(({ proxy, ring, shadow, handle }) => {
    shadow.set([0x00, 0x10, 0x12, 0x00]);
    shadow.set([1, 2, 3, 4], 256);
    assertEquals(proxy.readConfig(PciConfig.VENDOR_ID, 4), 0x0012_1000);
    assertEquals(proxy.readBar(BAR, 0x10, 4), 0x04030201);
    assertEquals(proxy.readBar(BAR, 0x12, 2), 0x0403);

    const other = new PciProxy(handle, new RecordingMachine(), 1);
    other.writeBar(BAR, 0x10, 4, 5);
    ring.consumer.serve(1);
    shadow.set([5, 0, 0, 0], 256);
    assertEquals(proxy.readBar(BAR, 0x10, 4), 5);
  }),
);

Deno.test(
  "a device that does not answer within its time is an empty slot from then on, for all threads",
  withRing(({ proxy, machine, handle, peer }) => {
    const other = new PciProxy(handle, machine, 1);
    proxy.attachInterrupt(20);
    assertEquals(proxy.readBar(BAR, 0x40, 2), 0xffff);
    const line = "an access has had no answer for 50 ms";
    assertEquals(machine.lost, [line]);
    assertEquals(machine.wiring.map(([what]) => what), ["attach", "detach"]);
    for (const each of [proxy, other]) {
      assertEquals([each.failed, each.readConfig(0, 4), each.readBar(BAR, 0x10, 1)], [true, 0xffffffff, 0xff]);
      each.writeBar(BAR, 0, 4, 1);
      each.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
      each.reset();
    }
    assertEquals(machine.lost, [line]);
    peer.requests();
    assert(peer.cutOff);
  }),
);

Deno.test(
  "a device process that goes away with its socket is found gone before its time is over",
  withRing(({ proxy, machine, peer }) => {
    peer.close();
    assertEquals(proxy.readBar(BAR, 0x40, 2), 0xffff);
    assertEquals(machine.lost, ["the peer closed the link"]);
  }, 60_000),
);

Deno.test(
  "a device that is found gone by somebody else is cut off as any other",
  withRing(({ proxy, machine }) => {
    proxy.lose(new LinkError("the peer closed the link", "closed"));
    proxy.lose(new LinkError("the peer closed the link", "closed"));
    assertEquals([proxy.failed, machine.lost.length], [true, 1]);
  }),
);

const shadowFile = () => createShadowMemory(SHADOW_SIZE);

for (
  const [what, size, ranges, open, cause] of [
    [
      "a range outside of its BAR",
      4096,
      [{ space: 1, offset: 0x3fc, length: 8, at: 0 }],
      shadowFile,
      "shadow: range 0",
    ],
    [
      "a range in a BAR that is not there",
      4096,
      [{ space: 0, offset: 0, length: 4, at: 0 }],
      shadowFile,
      "shadow: range 0",
    ],
    ["a shadow that is shorter than it says", 8192, [], shadowFile, "shadow: the memory file has 4096 bytes, not 8192"],
    ["a shadow that could become shorter", 4096, [], () => ({
      fd: createMemoryFile("test", 4096, false),
      mapping: undefined,
    }), "shadow: the memory file is not sealed against becoming smaller"],
  ] as const
) {
  Deno.test(
    `a peer is refused that offers ${what}; nothing is left`,
    leakingNothing(() => {
      const [peer, { fd, mapping }] = [new FakePeer(), open()];
      peer.answerToOffers = RING;
      answerGreeting(peer);
      peer.send((message) => message.setRingReady({ size, ranges }), [fd]);
      const error = assertThrows(() => connectProxy("lsi0", peer.fd, { lanes: 1 }), Error) as Error;
      assert((error.cause as Error).message.startsWith(cause), (error.cause as Error).message);
      closeAll([fd]);
      mapping?.unmap();
      peer.requests();
      peer.dispose();
    }),
  );
}
