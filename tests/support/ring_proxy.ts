/**
 * A proxy that sets up a ring with a device process on this thread.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createDoorbell } from "../../src/ffi/doorbell.ts";
import { closeFd } from "../../src/ffi/file.ts";
import type { Mapping } from "../../src/ffi/memory.ts";
import { closeAll, createSocketPair } from "../../src/ffi/socket.ts";
import { Channel } from "../../src/link/channel.ts";
import { Command, type Message, Offer } from "../../src/link/message.ts";
import { type RingGeometry, Space } from "../../src/link/ring/layout.ts";
import { createRingMemory, mapShadow, ringMemory, type SharedMemory } from "../../src/link/ring/memory.ts";
import { RingProducer, type RingProducerOptions } from "../../src/link/ring/producer.ts";
import { producerHost } from "../../src/link/ring/producer_host.ts";
import { type ShadowLayout, ShadowReader } from "../../src/link/ring/shadow.ts";
import type { RemoteMachine } from "../../src/remote/remote_machine.ts";

export const OFFER = Offer.MARK | Offer.RING;

/** Gives the first two BARs, in I/O and in memory space, addresses, and enables them and bus mastering, as firmware does. */
export function enableBars(producer: RingProducer): void {
  producer.store(Space.CONFIG, PciConfig.BAR0, 4, 0xc000);
  producer.store(Space.CONFIG, PciConfig.BAR0 + 4, 4, 0xfebf0000);
  producer.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  producer.fence();
}

/** The ringing end of a doorbell, and memory that both sides have mapped. */
export class ProxyRing {
  readonly memory: SharedMemory;
  readonly ringer: number;
  /** The device process's end; closed once that has it. */
  readonly listener: number;
  readonly #closes: (() => void)[];

  constructor(readonly geometry: RingGeometry) {
    const memory = this.memory = createRingMemory(geometry);
    const [ringer, listener] = createDoorbell();
    [this.ringer, this.listener] = [ringer, listener];
    const given = once(() => closeAll([memory.fd, listener]));
    this.#closes = [given, once(() => closeFd(ringer)), once(() => memory.mapping.unmap())];
  }

  /** The descriptors have been sent. */
  give(): void {
    this.#closes[0]();
  }

  /** Closes the ringing end. */
  hangUp(): void {
    this.#closes[1]();
  }

  close(): void {
    for (const close of this.#closes) close();
  }
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

/** The shadow that a device process has sent. */
export interface ProxyShadow {
  readonly layout: ShadowLayout;
  readonly mapping: Mapping;
  readonly reader: ShadowReader;
}

/** One proxy of a machine on this thread, which works whenever the proxy waits. */
export class RingProxy {
  readonly channel: Channel;
  readonly #rings: ProxyRing[] = [];
  readonly #shadows: ProxyShadow[] = [];

  /** Adds a device to a machine. */
  constructor(readonly machine: RemoteMachine, id: string, { accelerated = true, driver = "test-device" } = {}) {
    const [near, far] = createSocketPair();
    machine.add({ id, fd: near, device: { driver, id: `${id}-device` }, accelerated });
    this.channel = new Channel(far);
  }

  /** Lets the machine work until it is idle. */
  settle(): void {
    while (this.machine.turn(false));
  }

  /** Sends a message, and lets the machine work on it. */
  tell(make: (message: Message) => void, descriptors: readonly number[] = []): void {
    make(this.channel.outgoing);
    this.channel.send(this.channel.outgoing, descriptors);
    this.settle();
  }

  /** Sends a message that is answered. @returns the answer's value in halves. */
  call(make: (message: Message) => void, descriptors: readonly number[] = []): [low: number, high: number] {
    this.tell(make, descriptors);
    assertEquals([this.channel.poll(), this.channel.incoming.command], ["message", Command.RET]);
    return [this.channel.incoming.returnLow, this.channel.incoming.returnHigh];
  }

  /**
   * Makes a ring, and asks for it to be served.
   *
   * @param unread How many answers of before have not been read; they are then. @default {0}
   */
  offerRing(geometry: RingGeometry, unread = 0): ProxyRing {
    const ring = new ProxyRing(geometry);
    this.#rings.push(ring);
    this.tell((m) => m.setConfigRead(0, 4, OFFER));
    this.tell((m) => m.setRingSetup(geometry), [ring.memory.fd, ring.listener]);
    ring.give();
    for (let i = 0; i <= unread; i++) {
      assertEquals([this.channel.poll(), this.channel.incoming.command], ["message", Command.RET]);
      this.settle();
    }
    return ring;
  }

  /** Takes the answer to that. */
  takeShadow(): ProxyShadow {
    assertEquals([this.channel.poll(), this.channel.incoming.command], ["message", Command.RING_READY]);
    const layout = this.channel.incoming.shadowLayout;
    const [fd] = this.channel.takeDescriptors();
    const mapping = mapShadow(fd, layout.size);
    closeFd(fd);
    const shadow = { layout, mapping, reader: new ShadowReader(mapping.bytes, layout.ranges) };
    this.#shadows.push(shadow);
    return shadow;
  }

  /** Both. @returns a producer for each lane; none of them looks into the shadow. */
  setUp(geometry: RingGeometry = { lanes: 2, slots: 8 }): {
    ring: ProxyRing;
    shadow: ProxyShadow;
    producers: RingProducer[];
  } {
    const ring = this.offerRing(geometry);
    const shadow = this.takeShadow();
    const producers = Array.from({ length: geometry.lanes }, (_, lane) => this.producer(ring, lane));
    return { ring, shadow, producers };
  }

  /** A lane of a ring. The machine works while its producer sleeps. */
  producer(ring: ProxyRing, lane: number, options: Partial<RingProducerOptions> = {}): RingProducer {
    return new RingProducer({
      memory: ringMemory(ring.memory.mapping),
      geometry: ring.geometry,
      lane,
      deadline: 30e9,
      spin: { longest: 0 },
      host: { ...producerHost(ring.ringer, this.channel.fd), sleep: () => void this.machine.turn(false) },
      ...options,
    });
  }

  /** Goes away. */
  close(): void {
    this.channel.close();
    for (const ring of this.#rings) ring.close();
    for (const { mapping } of this.#shadows) mapping.unmap();
  }
}
