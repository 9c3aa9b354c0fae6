/** Rings between this process and device processes in jails, set up as the VMM does. */
import { assert, assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { monotonicNow } from "../../src/ffi/clock.ts";
import { closeAll } from "../../src/ffi/socket.ts";
import { Header, Space } from "../../src/link/ring/layout.ts";
import { RingProducer } from "../../src/link/ring/producer.ts";
import { producerHost } from "../../src/link/ring/producer_host.ts";
import type { ControllerConfig } from "../../src/options/storage.ts";
import { reapDeviceProcess, spawnJailedDeviceProcess } from "../../src/proxy/device_process.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy } from "../../src/proxy/pci_proxy.ts";
import { attachRing, openLane, type RingHandle } from "../../src/proxy/ring_setup.ts";
import { SELF_ENVIRONMENT, selfCommand } from "../../src/vmm/self_command.ts";
import { NAMESPACES } from "../support/jail.ts";
import { testNeeding } from "../support/requirements.ts";

const REPOSITORY = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
const CONTROLLER: ControllerConfig = { driver: "lsi53c895a", id: "lsi0", disks: [] };

/** Milliseconds. */
const PATIENCE = 30_000;

/** A register of the 53C895A without effects, in its memory BAR (manual, chapter 4). */
const [MEMORY_BAR, SCRATCHA] = [1, 0x34];

/** What a test body gets. */
interface Fixture {
  readonly ring: RingHandle;
  readonly link: number;
  /** A lane whose thread looks for answers. */
  readonly producer: RingProducer;
}

/** A test body with a ring that a jailed process serves, which has to end in good order after it. */
function withJailedRing(body: (fixture: Fixture) => void): () => void {
  return () => {
    const self = { command: selfCommand(), env: { ...SELF_ENVIRONMENT, HOME: "/nowhere", DENO_DIR: CACHE } };
    const jailed = spawnJailedDeviceProcess(self, CONTROLLER, { files: [], readable: [REPOSITORY, CACHE] });
    const descriptors = [jailed.fd, jailed.control];
    try {
      const { ring, interrupt } = connectProxy("lsi0", jailed.fd, { lanes: 2 });
      closeInterruptFds(interrupt);
      if (ring === undefined) throw new Error("The jailed process takes no offer of a ring");
      descriptors.push(ring.doorbell);
      jailed.emptyRoot();
      const producer = openLane(ring, { lane: 0, link: jailed.fd, timeout: PATIENCE });
      producer.store(Space.CONFIG, PciConfig.BAR0 + 4, 4, 0xfebf0000);
      producer.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.MEMORY);
      producer.fence();
      body({ ring, link: jailed.fd, producer });
    } finally {
      closeAll(descriptors);
      assertEquals(reapDeviceProcess(jailed), { code: 0 });
    }
  };
}

/** Stores a number, and looks whether it is there once the store is done. */
function writeAndRead(producer: RingProducer, value: number): void {
  producer.store(MEMORY_BAR, SCRATCHA, 4, value);
  producer.fence();
  assertEquals(producer.load(MEMORY_BAR, SCRATCHA, 4), value);
}

testNeeding(
  [NAMESPACES],
  "a jailed device process serves a ring, and its registers show in its shadow",
  withJailedRing(({ producer }) => {
    for (let i = 1; i <= 1000; i++) writeAndRead(producer, i);
  }),
);

testNeeding(
  [NAMESPACES],
  "a jailed device process wakes threads that sleep until they have their answers",
  withJailedRing(({ ring, link }) => {
    const producer = new RingProducer({
      memory: attachRing(ring),
      geometry: ring.geometry,
      lane: 1,
      host: producerHost(ring.doorbell, link),
      deadline: PATIENCE * 1e6,
      spin: { longest: 0 },
    });
    for (let i = 1; i <= 1000; i++) writeAndRead(producer, i);
  }),
);

/** Waits until a device process has announced that it sleeps. */
function untilAsleep({ words }: { readonly words: Int32Array }): void {
  const latest = monotonicNow() + PATIENCE * 1e6;
  while (Atomics.load(words, Header.ASLEEP) === 0) {
    assert(monotonicNow() < latest, "the process does not sleep");
    Atomics.pause();
  }
}

testNeeding(
  [NAMESPACES],
  "a jailed device process that is woken whenever it has just fallen asleep may move to another processor, and serves on",
  withJailedRing(({ ring, producer }) => {
    const memory = attachRing(ring);
    // Sleeps are short and looking brings nothing: as if both sides were on one processor, which the process tries to leave.
    for (let i = 1; i <= 300; i++) {
      untilAsleep(memory);
      writeAndRead(producer, i);
    }
  }),
);
