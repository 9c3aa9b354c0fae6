/**
 * Bringing the process that takes the place of a lost one to where that was, as far as the VMM knows: its ring, its interrupt, what RAM
 * the guest has, and what the guest has configured. Nothing here waits but by the caller's event loop.
 *
 * @module
 */
import { type AccessSize, PciConfig } from "../device/config_space.ts";
import { drainEventFd, isReady, Ready } from "../ffi/event.ts";
import { Channel } from "../link/channel.ts";
import { LinkError } from "../link/link_error.ts";
import { Command, Offer, offers, type SystemMemoryRegion } from "../link/message.ts";
import type { ShadowLayout } from "../link/ring/shadow.ts";
import { mergeRegions } from "./memory_listener.ts";
import type { ProxyHandle } from "./pci_proxy.ts";
import { releaseRing, type RingHandle, RingOffer } from "./ring_setup.ts";

/** What the device process is to know of the guest. */
export interface GuestState {
  /** The bytes of the header. */
  readonly configuration: Uint8Array;
  /** RAM ranges, all in one memfd. */
  readonly ranges: readonly SystemMemoryRegion[];
  readonly memoryFd: number;
}

/** Resolves when the link's descriptor is ready for reading; rejects when that takes too long. */
export type AwaitLink = () => Promise<void>;

/** Registers that are written before the command register, which puts them into force. */
const HEADER: readonly (readonly [offset: number, size: AccessSize])[] = [
  [PciConfig.CACHE_LINE_SIZE, 2],
  [PciConfig.INTERRUPT_LINE, 1],
];

/** A new process at the other end of a proxy's link, until it can take the lost one's place. */
export class Reconnection {
  readonly #handle: ProxyHandle;
  readonly #awaitLink: AwaitLink;
  readonly #channel: Channel;
  #ring: RingHandle | undefined;
  #tellsGuest = false;
  #replayed = false;

  /** @param handle The link's descriptor leads to the new process. */
  constructor(handle: ProxyHandle, awaitLink: AwaitLink) {
    this.#handle = handle;
    this.#awaitLink = awaitLink;
    this.#channel = new Channel(handle.fd);
  }

  /** The ring that was agreed upon. */
  get ring(): RingHandle | undefined {
    return this.#ring;
  }

  /** Waits until the process answers, and agrees with it upon what was agreed upon before. @throws {LinkError} when it does not. */
  async greet(): Promise<void> {
    const { interrupt, ring, heartbeat } = this.#handle;
    const { outgoing, incoming } = this.#channel;
    const before = (ring === undefined ? 0 : Offer.RING) | (heartbeat === undefined ? 0 : Offer.PING);
    outgoing.setConfigRead(PciConfig.VENDOR_ID, 4, Offer.MARK | Offer.RESTART | before);
    await this.#call();
    const answer = incoming.returnHigh;
    if (before !== 0 && (!offers(answer, before) || (answer & before) !== before)) {
      throw new LinkError("the new process does not agree to what the one before has agreed to");
    }
    this.#tellsGuest = offers(answer, Offer.RESTART);
    // An interrupt of the lost process that KVM had not taken yet.
    if (isReady(interrupt.irq, Ready.IN)) drainEventFd(interrupt.irq);
    outgoing.setIrqFd();
    this.#send([interrupt.irq, interrupt.resample]);
    if (ring === undefined) return;
    this.#ring = await this.#setUpRing(ring);
  }

  /** Tells the process what it is to know, the command register last, and then that the guest has seen a device before. */
  async replay({ configuration, ranges, memoryFd }: GuestState): Promise<void> {
    const { outgoing } = this.#channel;
    const view = new DataView(configuration.buffer, configuration.byteOffset);
    const write = async (offset: number, size: AccessSize) => {
      const value = size === 4
        ? view.getUint32(offset, true)
        : size === 2
        ? view.getUint16(offset, true)
        : view.getUint8(offset);
      outgoing.setConfigWrite(offset, size, value);
      await this.#call();
    };
    if (this.#replayed) {
      outgoing.setDeviceReset();
      await this.#call();
    }
    this.#replayed = true;
    const regions = mergeRegions(ranges);
    outgoing.setSyncSysmem(regions);
    this.#send(regions.map(() => memoryFd));
    for (const { index } of this.#handle.bars) await write(PciConfig.BAR0 + 4 * index, 4);
    for (const [offset, size] of HEADER) await write(offset, size);
    await write(PciConfig.COMMAND, 2);
    if (!this.#tellsGuest) return;
    outgoing.setDeviceRestarted();
    await this.#call();
  }

  /** Gives back what was made for a process that is not used after all. */
  revoke(): void {
    if (this.#ring !== undefined) releaseRing(this.#ring);
    this.#ring = undefined;
  }

  async #setUpRing({ geometry: { lanes }, shadow }: RingHandle): Promise<RingHandle> {
    const offer = new RingOffer({ lanes, bars: this.#handle.bars });
    let ring: RingHandle | undefined;
    try {
      await this.#call(offer.write(this.#channel.outgoing), Command.RING_READY);
      ring = offer.accept(this.#channel);
      if (isSameLayout(ring.shadow, shadow)) return ring;
      throw new LinkError("the new process has other registers than the one before");
    } catch (error) {
      if (ring === undefined) offer.revoke();
      else releaseRing(ring);
      throw error;
    } finally {
      offer.close();
    }
  }

  /** The socket of a peer that takes what it is sent has room for all that is under way here. */
  #send(descriptors: readonly number[] = []): void {
    this.#channel.send(this.#channel.outgoing, descriptors, 0);
  }

  async #call(descriptors?: readonly number[], reply: number = Command.RET): Promise<void> {
    this.#send(descriptors);
    let arrival = this.#channel.poll();
    while (arrival === "pending") {
      await this.#awaitLink();
      arrival = this.#channel.poll();
    }
    if (arrival === "end") throw new LinkError("the peer closed the link", "closed");
    if (this.#channel.incoming.command !== reply) throw new LinkError("the new process does not answer as a device");
  }
}

function isSameLayout(a: ShadowLayout, b: ShadowLayout): boolean {
  const same = a.size === b.size && a.ranges.length === b.ranges.length;
  return same && a.ranges.every(({ space, offset, length, at }, i) => {
    const other = b.ranges[i];
    return space === other.space && offset === other.offset && length === other.length && at === other.at;
  });
}
