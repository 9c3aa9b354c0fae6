/**
 * Agreeing with a device process upon a ring, and using it from each thread.
 *
 * @module
 */
import { type BarDescription, PciConfig } from "../device/config_space.ts";
import { createDoorbell } from "../ffi/doorbell.ts";
import { closeFd } from "../ffi/file.ts";
import { bytesAt, unmapAt } from "../ffi/memory.ts";
import { closeAll } from "../ffi/socket.ts";
import type { Channel } from "../link/channel.ts";
import { Command, type Message } from "../link/message.ts";
import { markClosed, type RingGeometry, type RingMemory, ringSize, Space } from "../link/ring/layout.ts";
import { createRingMemory, mapShadow, ringMemory, type SharedMemory } from "../link/ring/memory.ts";
import { RingProducer } from "../link/ring/producer.ts";
import { producerHost } from "../link/ring/producer_host.ts";
import { checkShadowLayout, type ShadowLayout, ShadowReader } from "../link/ring/shadow.ts";

/** How many requests of a vCPU may be under way; one that posts more waits until half of them are done. */
const SLOTS = 64;

/** A ring, as plain data for all threads. */
export interface RingHandle {
  readonly geometry: RingGeometry;
  readonly address: bigint;
  /** The ringing end; this process's own. */
  readonly doorbell: number;
  /** Where the shadow is mapped, and what it holds. */
  readonly shadow: ShadowLayout & { readonly address: bigint };
}

/** What a ring is made for. */
export interface RingUse {
  /** How many threads will have a lane. */
  readonly lanes: number;
  readonly bars: readonly BarDescription[];
}

/** A ring that a device process is to be handed. */
export class RingOffer {
  readonly #geometry: RingGeometry;
  readonly #spaces: readonly number[];
  readonly #ring: SharedMemory;
  readonly #ringer: number;
  readonly #listener: number;

  constructor({ lanes, bars }: RingUse) {
    this.#geometry = { lanes, slots: SLOTS };
    this.#spaces = spaceSizes(bars);
    this.#ring = createRingMemory(this.#geometry);
    try {
      [this.#ringer, this.#listener] = createDoorbell();
    } catch (error) {
      this.#ring.mapping.unmap();
      closeFd(this.#ring.fd);
      throw error;
    }
  }

  /** Makes the request that hands it over; a RING_READY answers it. @returns the descriptors that go with it. */
  write(message: Message): readonly number[] {
    message.setRingSetup(this.#geometry);
    return [this.#ring.fd, this.#listener];
  }

  /** Takes the answer. @throws {LinkError} when it is not what it should be. */
  accept(channel: Channel): RingHandle {
    const layout = channel.incoming.shadowLayout;
    const [fd] = channel.takeDescriptors();
    try {
      checkShadowLayout(layout, this.#spaces);
      const shadow = { ...layout, address: mapShadow(fd, layout.size).address };
      return { geometry: this.#geometry, address: this.#ring.mapping.address, doorbell: this.#ringer, shadow };
    } finally {
      closeAll([fd]);
    }
  }

  /** Closes what only the device process needs. */
  close(): void {
    closeAll([this.#ring.fd, this.#listener]);
  }

  /** Takes it back; nobody has been given it. */
  revoke(): void {
    this.#ring.mapping.unmap();
    closeFd(this.#ringer);
  }
}

/**
 * Hands a ring over to a device process that has offered to serve one.
 *
 * @param timeout Milliseconds for its answer.
 * @throws {LinkError} when the answer is not what it should be.
 */
export function setUpRing(channel: Channel, { timeout, ...use }: RingUse & { readonly timeout: number }): RingHandle {
  const offer = new RingOffer(use);
  try {
    channel.call(channel.outgoing, timeout, offer.write(channel.outgoing), Command.RING_READY);
    return offer.accept(channel);
  } catch (error) {
    offer.revoke();
    throw error;
  } finally {
    offer.close();
  }
}

/** Gives back what this process holds of a ring that no thread uses. */
export function releaseRing({ geometry, address, doorbell, shadow }: RingHandle): void {
  unmapAt(address, ringSize(geometry));
  unmapAt(shadow.address, shadow.size);
  closeFd(doorbell);
}

/** By {@linkcode Space}. */
function spaceSizes(bars: readonly BarDescription[]): number[] {
  const sizes = new Array(Space.COUNT).fill(0);
  for (const { index, size } of bars) sizes[Space.BAR0 + index] = size;
  sizes[Space.CONFIG] = PciConfig.SIZE;
  return sizes;
}

/** Has the device process do nothing more of what has been asked for, if it still lives and obeys. */
export function giveUpRing(handle: RingHandle): void {
  markClosed(attachRing(handle).words);
}

/** The ring as words, for a thread of this process. */
export function attachRing({ geometry, address }: RingHandle): RingMemory {
  return ringMemory({ bytes: bytesAt(address, ringSize(geometry)), address });
}

/**
 * One thread's lane. No other thread has it.
 *
 * @param options `link`: the socket, by whose end the device process is known to be gone. `inUse`: whether it is still the ring's; it is if left out.
 * `timeout`: how long the device may take for one access, in milliseconds.
 */
export function openLane(
  handle: RingHandle,
  { lane, link, inUse = () => true, timeout }: { lane: number; link: number; inUse?: () => boolean; timeout: number },
): RingProducer {
  const { geometry, doorbell, shadow } = handle;
  const host = producerHost(doorbell, link);
  return new RingProducer({
    memory: attachRing(handle),
    geometry,
    lane,
    host: { ...host, isPeerThere: () => inUse() && host.isPeerThere() },
    deadline: timeout * 1e6,
    shadow: new ShadowReader(bytesAt(shadow.address, shadow.size), shadow.ranges),
  });
}
