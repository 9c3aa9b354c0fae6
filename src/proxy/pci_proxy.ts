/**
 * pci-proxy-dev: a PCI function whose device lives in another process.
 *
 * Configuration accesses are forwarded, every one of them; the proxy keeps a shadow of the header only to know where the guest has
 * put the BARs. BAR accesses are forwarded with their absolute address. DMA and interrupts do not pass here: the
 * device process has guest RAM mapped, and an eventfd into KVM.
 *
 * A peer that dies, times out or talks nonsense is cut off once, with one line; from then on its device reads as all-ones and drops
 * writes, as an empty slot does.
 *
 * @module
 */
import {
  type AccessSize,
  allOnes,
  type BarDescription,
  ConfigSpace,
  PciCommand,
  PciConfig,
} from "../device/config_space.ts";
import { bytes, defineState } from "../device/state.ts";
import { Channel } from "../link/channel.ts";
import { LinkError } from "../link/link_error.ts";
import type { SystemMemoryRegion } from "../link/message.ts";
import { shutdownSocket } from "../ffi/socket.ts";
import { monotonicNow } from "../ffi/clock.ts";
import { mergeRegions } from "./memory_listener.ts";
import { probeBars } from "./probe.ts";
import { closeInterruptFds, createInterruptFds, type InterruptFds, type IrqfdHost, IrqfdWire } from "./interrupt.ts";

/** How long a device may take to answer, in milliseconds. A disk may sync on a write; a device that takes longer is hung. */
const REPLY_TIMEOUT = 10_000;

/**
 * The same for its first words, when its process may only just be starting, on a machine that has much else to do. One that dies meanwhile is
 * noticed at once.
 */
const GREETING_TIMEOUT = 60_000;

/**
 * For how long after the start a peer may lose what the guest has configured, in nanoseconds. QEMU's remote process answers on its link
 * before it resets its devices for the first time.
 */
const SETTLING_TIME = 5e9;

/** What all threads share about a proxy. */
const ProxyState = defineState("pci-proxy", 1, {
  /** The header as the guest has written it. */
  shadow: bytes(PciConfig.SIZE),
  /** The peer has been cut off. */
  failed: "bool",
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
  /** When the link was made, in nanoseconds of CLOCK_MONOTONIC. */
  readonly connectedAt: number;
}

/** What a proxy needs of the machine. */
export interface ProxyHost {
  readonly vm: IrqfdHost;
  /** The guest has moved, enabled or disabled a BAR. */
  mappingChanged(): void;
  /** The peer was cut off: one line for people. */
  peerLost(line: string): void;
}

/**
 * Greets a device process: learns the BARs and hands over the interrupt's eventfds.
 *
 * @param id The device's name, for messages.
 * @param fd A connected UNIX stream socket, owned by the result; the caller's, if there is none.
 * @throws {Error} when the peer does not answer as a device does.
 */
export function connectProxy(id: string, fd: number): ProxyHandle {
  const channel = new Channel(fd);
  const interrupt = createInterruptFds();
  const read = (offset: number) => {
    channel.outgoing.setConfigRead(offset, 4);
    channel.call(channel.outgoing, GREETING_TIMEOUT);
    return channel.incoming.returnLow;
  };
  const write = (offset: number, value: number) => {
    channel.outgoing.setConfigWrite(offset, 4, value);
    channel.call(channel.outgoing, GREETING_TIMEOUT);
  };
  try {
    const bars = probeBars({ read, write });
    const interruptPin = (read(PciConfig.INTERRUPT_LINE) >>> 8) & 0xff;
    channel.outgoing.setIrqFd();
    channel.send(channel.outgoing, [interrupt.irq, interrupt.resample], GREETING_TIMEOUT);
    return {
      id,
      fd,
      bars,
      interruptPin: interruptPin > 4 ? 0 : interruptPin,
      interrupt,
      state: new SharedArrayBuffer(ProxyState.size),
      connectedAt: monotonicNow(),
    };
  } catch (cause) {
    closeInterruptFds(interrupt);
    throw new Error(`The device process of ${id} does not answer as a device`, { cause });
  }
}

/**
 * The proxy of one device, on one thread. Every call is made under the machine's lock: the link carries one request at a
 * time.
 */
export class PciProxy {
  readonly #handle: ProxyHandle;
  readonly #host: ProxyHost;
  readonly #channel: Channel;
  readonly #state: ReturnType<typeof ProxyState.attach>;
  readonly #shadow: ConfigSpace;
  readonly #wire: IrqfdWire;
  /** Whether the device has been seen to answer at a BAR, or has been given its configuration again: it keeps it from now on. */
  #settled = false;

  constructor(handle: ProxyHandle, host: ProxyHost) {
    this.#handle = handle;
    this.#host = host;
    this.#channel = new Channel(handle.fd);
    this.#state = ProxyState.attach(handle.state);
    this.#shadow = shadowHeader(handle, this.#state.shadow);
    this.#wire = new IrqfdWire(host.vm, handle.interrupt);
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

  /** Whether the peer was cut off. */
  get failed(): boolean {
    return this.#state.failed;
  }

  /** Where the guest has put a BAR, or `undefined` while it does not answer. */
  barAddress(bar: BarDescription): number | undefined {
    const mapping = this.#shadow.mappings().find((mapped) => mapped.index === bar.index);
    return this.#state.failed ? undefined : mapping?.address;
  }

  /** A configuration read of the guest. */
  readConfig(offset: number, size: AccessSize): number {
    const message = this.#channel.outgoing;
    message.setConfigRead(offset, size);
    return this.#call() ? masked(this.#channel.incoming.returnLow, size) : allOnes(size);
  }

  /** A configuration write of the guest. */
  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.#channel.outgoing.setConfigWrite(offset, size, value);
    if (!this.#call()) return;
    this.#shadow.write(offset, size, value);
    const touchesMapping = offset + size > PciConfig.COMMAND && offset < PciConfig.BAR0 + 24;
    if (touchesMapping) this.#host.mappingChanged();
  }

  /** A read of the guest at a BAR that {@linkcode barAddress} has. */
  readBar(bar: BarDescription, offset: number, size: AccessSize): number {
    const address = this.barAddress(bar);
    if (address === undefined) return allOnes(size);
    const memory = bar.space === "memory";
    const attempt = () => {
      this.#channel.outgoing.setBarRead(address + offset, size, memory);
      return this.#call() ? masked(this.#channel.incoming.returnLow, size) : allOnes(size);
    };
    const value = attempt();
    if (value !== allOnes(size)) this.#settled = true;
    else if (this.#restoreHeader()) return attempt();
    return value;
  }

  /** A write of the guest at a BAR. */
  writeBar(bar: BarDescription, offset: number, size: AccessSize, value: number): void {
    const address = this.barAddress(bar);
    if (address === undefined) return;
    this.#restoreHeader();
    this.#channel.outgoing.setBarWrite(address + offset, size, bar.space === "memory", value);
    this.#call();
  }

  /** Tells the device process what RAM the guest has now. @param fd The memfd that all ranges lie in. */
  syncMemory(fd: number, ranges: readonly SystemMemoryRegion[]): void {
    if (this.#state.failed) return;
    const regions = mergeRegions(ranges);
    this.#guarded(() => {
      this.#channel.outgoing.setSyncSysmem(regions);
      this.#channel.send(this.#channel.outgoing, regions.map(() => fd), REPLY_TIMEOUT);
    });
  }

  /** Wires the interrupt to a GSI, from whichever one it was on. */
  attachInterrupt(gsi: number): void {
    if (this.#handle.interruptPin === 0 || this.#state.failed) return;
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
    this.#channel.outgoing.setDeviceReset();
    this.#call();
    this.#shadow.reset();
    if (this.#state.gsi !== 0) this.attachInterrupt(this.#state.gsi);
    this.#host.mappingChanged();
  }

  /**
   * Gives a peer that has forgotten its BARs what the guest had written there.
   *
   * @returns whether it had to.
   */
  #restoreHeader(): boolean {
    if (this.#settled || this.#state.failed) return false;
    if (monotonicNow() - this.#handle.connectedAt > SETTLING_TIME) {
      this.#settled = true;
      return false;
    }
    const decoding = PciCommand.IO | PciCommand.MEMORY;
    if ((this.readConfig(PciConfig.COMMAND, 2) & decoding) === (this.#shadow.command & decoding)) return false;
    for (const { index } of this.#handle.bars) this.#replay(PciConfig.BAR0 + 4 * index, 4);
    this.#replay(PciConfig.INTERRUPT_LINE, 1);
    this.#replay(PciConfig.COMMAND, 2);
    this.#settled = true;
    return true;
  }

  #replay(offset: number, size: AccessSize): void {
    this.#channel.outgoing.setConfigWrite(offset, size, this.#shadow.read(offset, size));
    this.#call();
  }

  /** Sends {@linkcode Channel.outgoing} and waits for the reply. @returns false when there is none, now or ever. */
  #call(): boolean {
    return !this.#state.failed && this.#guarded(() => this.#channel.call(this.#channel.outgoing, REPLY_TIMEOUT));
  }

  #guarded(exchange: () => void): boolean {
    try {
      exchange();
      return true;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#cutOff(error);
      return false;
    }
  }

  #cutOff(error: LinkError): void {
    this.#state.failed = true;
    // The descriptor stays, since other threads know it by number; the peer is told by the end of the stream.
    shutdownSocket(this.#handle.fd);
    this.detachInterrupt();
    this.#host.mappingChanged();
    this.#host.peerLost(`device ${this.id} is gone: ${error.message}; it reads as all-ones from now on`);
  }
}

/** The registers that decide where BARs answer, over shared bytes: BARs, command and interrupt line. */
function shadowHeader(handle: ProxyHandle, shared: Uint8Array): ConfigSpace {
  const header = new ConfigSpace(shared, { attached: true });
  header.define(PciConfig.COMMAND, 2, 0, 0xffff);
  header.define(PciConfig.INTERRUPT_LINE, 1, 0, 0xff);
  for (const bar of handle.bars) header.addBar(bar);
  return header;
}

function masked(value: number, size: AccessSize): number {
  return size === 4 ? value : value & allOnes(size);
}
