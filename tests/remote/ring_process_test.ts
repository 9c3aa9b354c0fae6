/** A ring between this process and a device process that was started from its command line. */
import { assert, assertEquals } from "@std/assert";
import { ringDoorbell } from "../../src/ffi/doorbell.ts";
import { createEventFd, pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { Command } from "../../src/link/message.ts";
import { Lane, laneAt, Slot, Space } from "../../src/link/ring/layout.ts";
import { mapShadow, ringMemory } from "../../src/link/ring/memory.ts";
import { RingProducer } from "../../src/link/ring/producer.ts";
import { producerHost } from "../../src/link/ring/producer_host.ts";
import { ShadowReader } from "../../src/link/ring/shadow.ts";
import { defaultArguments, RemoteProcess, withImage } from "../support/remote_process.ts";
import { enableBars, OFFER, ProxyRing } from "../support/ring_proxy.ts";

const GEOMETRY = { lanes: 2, slots: 64 };
const DEADLINE = 30e9;
const PATIENCE = 30_000;
const RAM_SIZE = 0x10000;

/** Registers of the 53C895A, in its memory BAR (manual, chapter 4). */
const MEMORY_BAR = 1;
const [DSTAT, DSP, DSPS, SCRATCHA, DMODE, DIEN] = [0x0c, 0x2c, 0x30, 0x34, 0x38, 0x39];

/** A device process with its ring, and what its end has to be. */
interface Fixture {
  readonly remote: RemoteProcess;
  readonly ring: ProxyRing;
  readonly producer: RingProducer;
  /** The shadow, which the producer does not look into. */
  readonly reader: ShadowReader;
}

/** A process that has to end in the given way once its proxy has gone away. */
function withRing(body: (fixture: Fixture) => void, code = 0, errors = ""): () => void {
  return withImage((image) => {
    const remote = new RemoteProcess(image);
    const ring = new ProxyRing(GEOMETRY);
    assertEquals(remote.call((m) => m.setConfigRead(0, 4, OFFER)), [0x00121000, OFFER]);
    const { channel } = remote;
    channel.outgoing.setRingSetup(GEOMETRY);
    channel.call(channel.outgoing, PATIENCE, [ring.memory.fd, ring.listener], Command.RING_READY);
    ring.give();
    const { size, ranges } = channel.incoming.shadowLayout;
    const [fd] = channel.takeDescriptors();
    const shadow = mapShadow(fd, size);
    closeFd(fd);
    const producer = new RingProducer({
      memory: ringMemory(ring.memory.mapping),
      geometry: GEOMETRY,
      lane: 0,
      host: producerHost(ring.ringer, channel.fd),
      deadline: DEADLINE,
    });
    try {
      body({ remote, ring, producer, reader: new ShadowReader(shadow.bytes, ranges) });
    } finally {
      channel.close();
      assertEquals(remote.wait(), { status: { code }, errors });
      ring.close();
      shadow.unmap();
    }
  });
}

Deno.test(
  "a device process serves a ring, asleep and awake, and its registers show in its shadow",
  withRing(({ producer, reader }) => {
    enableBars(producer);
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 1; i <= 300; i++) {
      producer.store(MEMORY_BAR, SCRATCHA, 4, i);
      assertEquals(producer.load(MEMORY_BAR, SCRATCHA, 4), i);
      const at = reader.find(MEMORY_BAR, SCRATCHA, 4);
      assert(at >= 0);
      assertEquals(reader.read(at, 4), i);
      if (i % 10 === 0) Atomics.wait(pause, 0, 0, 1);
    }
    assertEquals(producer.load(Space.CONFIG, 0, 4), 0x00121000);
  }),
);

Deno.test(
  "a SCRIPTS program that posted stores start copies guest RAM and interrupts",
  withRing(({ remote, producer }) => {
    const file = createMemoryFile("ram", RAM_SIZE);
    const mapping = mapFile(file, 0, RAM_SIZE);
    const [irq, resample] = [createEventFd(), createEventFd()];
    remote.tell((m) => m.setSyncSysmem([{ gpa: 0, size: RAM_SIZE, offset: 0 }]), [file]);
    remote.tell((m) => m.setIrqFd(), [irq, resample]);
    remote.call((m) => m.setConfigRead(0, 4));
    enableBars(producer);

    // 53C895A manual, chapter 5: memory move of 16 bytes from 0x2000 to 0x3000, then INT with 0x55 in DSPS.
    new Uint32Array(mapping.bytes.buffer, 0x1000, 5).set([0xc0000010, 0x2000, 0x3000, 0x98080000, 0x55]);
    mapping.bytes.fill(0x5a, 0x2000, 0x2010);
    producer.store(MEMORY_BAR, DMODE, 1, 0);
    producer.store(MEMORY_BAR, DIEN, 1, 0x04); // SIR
    producer.store(MEMORY_BAR, DSP, 4, 0x1000);
    assertEquals(pollFd(irq, Ready.IN, PATIENCE), Ready.IN);
    assertEquals(mapping.bytes.slice(0x3000, 0x3010), new Uint8Array(16).fill(0x5a));
    assertEquals(producer.load(MEMORY_BAR, DSPS, 4), 0x55);
    assertEquals(producer.load(MEMORY_BAR, DSTAT, 1) & 0x04, 0x04);
    mapping.unmap();
    [file, irq, resample].forEach(closeFd);
  }),
);

const FORGED = "ring: an access of 4 bytes at offset 0x400 of space 1 lies outside";

Deno.test(
  "a device process whose ring is misused ends with status 1 and one line",
  withRing(
    ({ remote, ring }) => {
      const { words } = ringMemory(ring.memory.mapping);
      const slot = laneAt(1, GEOMETRY) + Lane.SLOTS;
      words[slot + Slot.ACCESS] = 0x010401; // a load of 4 bytes of BAR 1, which has 0x400
      words[slot + Slot.OFFSET] = 0x400;
      Atomics.store(words, slot + Slot.SEQUENCE, 0);
      ringDoorbell(ring.ringer);
      assertEquals(remote.channel.receive(PATIENCE), false);
    },
    1,
    `splitvm: remote-object robj0: ${FORGED}; the link is closed\n`,
  ),
);

Deno.test(
  "a device process with accel=off takes no offer",
  withImage((image) => {
    const remote = new RemoteProcess(
      image,
      defaultArguments(image).map((word) => word.replace(/^remote-object,/, "$&accel=off,")),
    );
    assertEquals(remote.call((m) => m.setConfigRead(0, 4, OFFER)), [0x00121000, 0]);
    remote.channel.close();
    assertEquals(remote.wait(), { status: { code: 0 }, errors: "" });
  }),
);
