/**
 * pci-proxy-dev: a PCI function whose device lives in another process.
 *
 * Accesses go there, by the link's messages or by a ring in shared memory; the proxy keeps the header only to know where the guest has
 * put the BARs. DMA and interrupts do not pass here: the device process has guest RAM mapped, and an eventfd into KVM.
 *
 * A peer that dies, times out or talks nonsense is cut off once, with one line; from then on its device reads as all-ones and drops
 * writes, as an empty slot does, until another process takes its place (`reconnect.ts`).
 *
 * @module
 */
import { type AccessSize, allOnes, type BarDescription, ConfigSpace, PciConfig } from "../device/config_space.ts";
import { bytes, defineState } from "../device/state.ts";
import { Channel } from "../link/channel.ts";
import { LinkError } from "../link/link_error.ts";
import { Offer, offers, type SystemMemoryRegion } from "../link/message.ts";
import { shutdownSocket } from "../ffi/socket.ts";
import { monotonicNow } from "../ffi/clock.ts";
import type { DeviceAccess } from "./device_access.ts";
import { Heartbeat, HEARTBEAT_SIZE } from "./heartbeat.ts";
import { mergeRegions } from "./memory_listener.ts";
import { probeBars } from "./probe.ts";
import { closeInterruptFds, createInterruptFds, type InterruptFds, type IrqfdHost, IrqfdWire } from "./interrupt.ts";
import { RingAccess } from "./ring_access.ts";
import { giveUpRing, openLane, type RingHandle, setUpRing } from "./ring_setup.ts";
import { SharedLink } from "./shared_link.ts";
import { WireAccess } from "./wire_access.ts";

/**
 * How long a device's first answers may take together, in milliseconds, when its process may only just be starting, on a machine that has much else to
 * do. One that dies meanwhile is noticed at once.
 */
const GREETING_TIMEOUT = 60_000;

/** How long a device may take to answer, in milliseconds. A disk may sync on a write; a device that takes longer is hung. */
const REPLY_TIMEOUT = 10_000;

/** What all threads share about a proxy. */
const ProxyState = defineState("pci-proxy", 1, {
  /** The header as the guest has written it. */
  header: bytes(PciConfig.SIZE),
  /** The GSI that the irqfd is attached to; 0 for none (GSI 0 is the timer's). */
  gsi: "u32",
});

/** Everything that another thread needs to drive the same device: plain data, but for the shared state. */
export interface ProxyHandle {
  readonly id: string;
  /** The link's socket. */
  readonly fd: number;
  readonly bars: readonly BarDescription[];
  /** 1 to 4 for INTA# to INTD#, 0 for a device without an interrupt. */
  readonly interruptPin: number;
  readonly interrupt: InterruptFds;
  readonly state: SharedArrayBuffer;
  /** See {@linkcode SharedLink}. */
  readonly link: SharedArrayBuffer;
  /** When the link was made, in nanoseconds of CLOCK_MONOTONIC. */
  readonly connectedAt: number;
  /** How long the device may take to answer, in milliseconds. */
  readonly timeout: number;
  /** The ring, where the peer serves one; that of the first link. */
  readonly ring: RingHandle | undefined;
  /** What threads share about pings, where the peer answers them. */
  readonly heartbeat: SharedArrayBuffer | undefined;
}

/** What a proxy needs of the machine. */
export interface ProxyHost {
  readonly vm: IrqfdHost;
  /** The guest has moved, enabled or disabled a BAR. */
  mappingChanged(): void;
  /** Does something under the machine's lock, whether this thread holds that or not. */
  exclusively(action: () => void): void;
  /** The peer was cut off, and its device reads as all-ones from now on. Called once, on whichever thread. */
  peerLost(error: LinkError): void;
}

/**
 * Greets a device process: learns the BARs, hands over the interrupt's eventfds, and agrees upon a ring where the peer serves one.
 *
 * @param id The device's name, for messages.
 * @param fd A connected UNIX stream socket, owned by the result; the caller's, if there is none.
 * @param options `lanes`: how many threads are to use the device at the same time; without any, no ring is offered. `timeout`: how long the
 * device may take to answer from then on, in milliseconds. `heartbeat`: whether it is to answer pings, if it can.
 * `greeting`: how long its first answers may take together, in milliseconds.
 * @default {{ lanes: 0, timeout: 10_000, heartbeat: false, greeting: 60_000 }}
 * @throws {Error} when the peer does not answer as a device does.
 */
export function connectProxy(
  id: string,
  fd: number,
  { lanes = 0, timeout = REPLY_TIMEOUT, heartbeat = false, greeting: greetingTimeout = GREETING_TIMEOUT } = {},
): ProxyHandle {
  const channel = new Channel(fd);
  const interrupt = createInterruptFds();
  const deadline = performance.now() + greetingTimeout;
  const patience = () => Math.max(0, deadline - performance.now());
  try {
    const greeting = greet(channel, (lanes > 0 ? Offer.RING : 0) | (heartbeat ? Offer.PING : 0), patience);
    channel.outgoing.setIrqFd();
    channel.send(channel.outgoing, [interrupt.irq, interrupt.resample], patience());
    const { bars, interruptPin, agreed } = greeting;
    const ring = (agreed & Offer.RING) === 0 ? undefined : setUpRing(channel, { lanes, bars, timeout: patience() });
    return {
      id,
      fd,
      bars,
      interruptPin: interruptPin > 4 ? 0 : interruptPin,
      interrupt,
      state: new SharedArrayBuffer(ProxyState.size),
      link: SharedLink.allocate(ring),
      connectedAt: monotonicNow(),
      timeout,
      ring,
      heartbeat: (agreed & Offer.PING) === 0 ? undefined : new SharedArrayBuffer(HEARTBEAT_SIZE),
    };
  } catch (cause) {
    closeInterruptFds(interrupt);
    throw new Error(`The device process of ${id} does not answer as a device`, { cause });
  }
}

/** Each read carries the offer: a peer that knows it answers each. @param wanted Bits of {@linkcode Offer}. */
function greet(channel: Channel, wanted: number, patience: () => number) {
  const offer = wanted === 0 ? Offer.NONE : Offer.MARK | wanted;
  let answer: number = Offer.NONE;
  const read = (offset: number) => {
    channel.outgoing.setConfigRead(offset, 4, offer);
    channel.call(channel.outgoing, patience());
    answer = channel.incoming.returnHigh;
    return channel.incoming.returnLow;
  };
  const write = (offset: number, value: number) => {
    channel.outgoing.setConfigWrite(offset, 4, value);
    channel.call(channel.outgoing, patience());
  };
  const bars = probeBars({ read, write });
  const interruptPin = (read(PciConfig.INTERRUPT_LINE) >>> 8) & 0xff;
  return { bars, interruptPin, agreed: offers(answer, wanted) ? answer & wanted : 0 };
}

/**
 * The proxy of one device, on one thread. Every call is made under the machine's lock, but for accesses to the BARs of one that is
 * {@linkcode PciProxy.concurrent}.
 */
export class PciProxy {
  readonly #handle: ProxyHandle;
  readonly #host: ProxyHost;
  /** Pings of the device process, where it answers them. */
  readonly heartbeat: Heartbeat | undefined;
  readonly #lane: number;
  readonly #link: SharedLink;
  /** The link that this thread has open, 0 for none, and how it uses that. */
  #opened = 0;
  #channel: Channel | undefined;
  #access: DeviceAccess | undefined;
  readonly #state: ReturnType<typeof ProxyState.attach>;
  readonly #header: ConfigSpace;
  readonly #wire: IrqfdWire;

  /**
   * @param lane This thread's number among those that use the device, below the `lanes` that {@linkcode connectProxy} was told. No
   * other thread has it.
   */
  constructor(handle: ProxyHandle, host: ProxyHost, lane: number) {
    this.#handle = handle;
    this.#host = host;
    this.#state = ProxyState.attach(handle.state);
    this.#header = headerOf(handle, this.#state.header);
    this.#wire = new IrqfdWire(host.vm, handle.interrupt);
    this.heartbeat = handle.heartbeat && new Heartbeat(handle.heartbeat);
    this.#lane = lane;
    this.#link = new SharedLink(handle.link, handle.ring);
    this.#reach();
  }

  /** The name that the command line gave it. */
  get id(): string {
    return this.#handle.id;
  }

  /** Which of INTA# to INTD# it drives (1 to 4), 0 for none. */
  get interruptPin(): number {
    return this.#handle.interruptPin;
  }

  /** The BARs, wherever they are. */
  get bars(): readonly BarDescription[] {
    return this.#handle.bars;
  }

  /** Whether several threads may access BARs at the same time. */
  get concurrent(): boolean {
    return this.#handle.ring !== undefined;
  }

  /** Whether the peer was cut off, and none has taken its place. */
  get failed(): boolean {
    return this.#link.current === 0;
  }

  /** Whether the peer was cut off, and everything that follows from that has been done. */
  get isBuried(): boolean {
    return this.#link.isBuried;
  }

  /** The ring in use, if there is one. */
  get ring(): RingHandle | undefined {
    return this.#link.ring;
  }

  /** Where the guest has put a BAR, or `undefined` while it does not answer. */
  barAddress(bar: BarDescription): number | undefined {
    const mapping = this.#header.mappings().find((mapped) => mapped.index === bar.index);
    return this.failed ? undefined : mapping?.address;
  }

  /** A configuration read of the guest. */
  readConfig(offset: number, size: AccessSize): number {
    const access = this.#reach();
    if (access === undefined) return allOnes(size);
    try {
      return access.readConfig(offset, size);
    } catch (error) {
      this.#cutOff(error);
      return allOnes(size);
    }
  }

  /** A configuration write of the guest. */
  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (!this.#guarded((access) => access.writeConfig(offset, size, value))) return;
    this.#header.write(offset, size, value);
    const touchesMapping = offset + size > PciConfig.COMMAND && offset < PciConfig.BAR0 + 24;
    if (touchesMapping) this.#host.mappingChanged();
  }

  /** A read of the guest at a BAR that {@linkcode barAddress} has. */
  readBar(bar: BarDescription, offset: number, size: AccessSize): number {
    const access = this.#reach();
    if (access === undefined) return allOnes(size);
    try {
      return access.readBar(bar, offset, size);
    } catch (error) {
      this.#cutOff(error);
      return allOnes(size);
    }
  }

  /** A write of the guest at a BAR. */
  writeBar(bar: BarDescription, offset: number, size: AccessSize, value: number): void {
    const access = this.#reach();
    if (access === undefined) return;
    try {
      access.writeBar(bar, offset, size, value);
    } catch (error) {
      this.#cutOff(error);
    }
  }

  /** Tells the device process what RAM the guest has now. @param fd The memfd that all ranges lie in. */
  syncMemory(fd: number, ranges: readonly SystemMemoryRegion[]): void {
    this.#guarded((access) => access.syncMemory(mergeRegions(ranges), fd));
  }

  /** Wires the interrupt to a GSI, from whichever one it was on. */
  attachInterrupt(gsi: number): void {
    if (this.#handle.interruptPin === 0 || this.failed) return;
    this.detachInterrupt();
    this.#wire.attach(gsi);
    this.#state.gsi = gsi;
  }

  /** Takes the interrupt off its GSI; the line falls. */
  detachInterrupt(): void {
    if (this.#state.gsi === 0) return;
    this.#wire.detach(this.#state.gsi);
    this.#state.gsi = 0;
  }

  /** Resets the device, as the machine's reset does. An interrupt that the guest has not acknowledged is gone, the wire stays. */
  reset(): void {
    this.#guarded((access) => access.reset());
    this.#header.reset();
    if (this.#state.gsi !== 0) this.attachInterrupt(this.#state.gsi);
    this.#host.mappingChanged();
  }

  /** Sends a ping, unless one is on its way. Never waits. */
  ping(): void {
    this.#guarded(() => this.heartbeat?.send(this.#channel!));
  }

  /** Takes the answer to a ping, if it has come. Never waits. */
  collectPong(): void {
    this.#guarded(() => this.heartbeat?.collect(this.#channel!));
  }

  /** Has the device be gone from now on, for a reason that was found elsewhere than in an access. No lock is needed. */
  lose(error: LinkError): void {
    this.#cutOff(error, this.#link.current);
  }

  /** What the guest has configured, as the bytes of the header: all that is known of a device that is gone. */
  get configuration(): Uint8Array {
    return this.#state.header.slice();
  }

  /**
   * Another peer, at the other end of the same descriptor, takes the place of the one that was cut off. Always the same thread does this.
   *
   * @param configuration What that peer has been told of the {@linkcode PciProxy.configuration}.
   * @param ring What has been agreed upon with it, of the same kind as before.
   * @returns false, with nothing done, when the configuration has changed since: by a reset, for the guest's writes are dropped.
   */
  renew(configuration: Uint8Array, ring: RingHandle | undefined): boolean {
    if (this.#state.header.some((byte, offset) => byte !== configuration[offset])) return false;
    this.heartbeat?.restart();
    this.#link.renew(ring);
    this.#host.mappingChanged();
    return true;
  }

  /** How to reach the device; `undefined` while it is gone. */
  #reach(): DeviceAccess | undefined {
    const link = this.#link.current;
    return link === this.#opened ? this.#access : this.#open(link);
  }

  #open(link: number): DeviceAccess | undefined {
    const isThere = this.#link.open(this.#lane, link) && link !== 0;
    const { ring } = this.#link;
    // The place of the ring may have become that of the next one's in between.
    const isOpen = isThere && this.#link.current === link;
    this.#opened = isOpen ? link : 0;
    return this.#access = isOpen ? this.#openAccess(link, ring) : undefined;
  }

  #openAccess(link: number, ring: RingHandle | undefined): DeviceAccess {
    const { fd, bars, connectedAt, timeout } = this.#handle;
    const { heartbeat } = this;
    const channel = this.#channel = new Channel(fd, heartbeat && ((message) => heartbeat.take(message)));
    if (ring === undefined) return new WireAccess({ channel, header: this.#header, bars, connectedAt, timeout });
    const inUse = () => this.#link.current === link;
    return new RingAccess(openLane(ring, { lane: this.#lane, link: fd, inUse, timeout }), channel, timeout);
  }

  /** @returns false when the device is gone, by now or for long. */
  #guarded(exchange: (access: DeviceAccess) => void): boolean {
    const access = this.#reach();
    if (access === undefined) return false;
    try {
      exchange(access);
      return true;
    } catch (error) {
      this.#cutOff(error);
      return false;
    }
  }

  /** Of several threads that find the peer gone, one sees to it. Those that wait for it, with the machine's lock or without, end that first. */
  #cutOff(error: unknown, link = this.#opened): void {
    if (!(error instanceof LinkError)) throw error;
    if (!this.#link.lose(link)) return;
    const { ring } = this.#link;
    if (ring !== undefined) giveUpRing(ring);
    // The descriptor stays, since other threads know it by number; the peer is told by the end of the stream.
    shutdownSocket(this.#handle.fd);
    this.#host.exclusively(() => {
      this.detachInterrupt();
      this.#host.mappingChanged();
      this.#host.peerLost(error);
      this.#link.bury();
    });
  }
}

/** The registers that decide where BARs answer, over shared bytes, and what else software sets in a header. */
function headerOf(handle: ProxyHandle, shared: Uint8Array): ConfigSpace {
  const header = new ConfigSpace(shared, { attached: true });
  header.define(PciConfig.COMMAND, 2, 0, 0xffff);
  header.define(PciConfig.CACHE_LINE_SIZE, 2, 0, 0xffff);
  header.define(PciConfig.INTERRUPT_LINE, 1, 0, 0xff);
  for (const bar of handle.bars) header.addBar(bar);
  return header;
}
