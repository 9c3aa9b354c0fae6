/**
 * Serves one device to one proxy: takes messages off the link, does what they ask, replies.
 *
 * @module
 */
import { Ready } from "../ffi/event.ts";
import type { Channel } from "../link/channel.ts";
import { LinkError } from "../link/link_error.ts";
import { Command, commandName, type Message, Offer, offers } from "../link/message.ts";
import type { EventLoop } from "../event_loop.ts";
import type { Watch } from "../watches.ts";
import type { InterruptLine } from "./interrupt_line.ts";
import type { Halves, PciHost } from "./pci_host.ts";
import { RingService } from "./ring_service.ts";
import type { SystemMemory } from "./system_memory.ts";

/** What a {@linkcode RemoteLink} needs. It owns none of it. */
export interface RemoteLinkOptions {
  readonly loop: EventLoop;
  readonly channel: Channel;
  readonly host: PciHost;
  readonly memory: SystemMemory;
  readonly line: InterruptLine;
  /** Whether the proxy may set up a ring. */
  readonly accelerated: boolean;
  /**
   * The link has ended: by an error, or because the proxy has closed it. Called once, and nothing is served after it.
   */
  readonly onEnd: (error: LinkError | undefined) => void;
}

/**
 * A link that is served from the loop, what one reading brings a turn. While a reply does not fit into the socket, which only a
 * proxy that does not read its replies can bring about, no further message is taken.
 *
 * An access that no register answers is the guest's affair: it gets all-ones, as the reply to a write too, and the link
 * lives. A message that is not of the format, or a descriptor that is not what it should be, ends the link, and so does a ring that is
 * not used by its rules.
 */
export class RemoteLink {
  readonly #options: RemoteLinkOptions;
  readonly #watch: Watch;
  readonly #value: Halves = { low: 0, high: 0 };
  #waitingForRoom = false;
  /** What the proxy has been told that it may use: bits of {@linkcode Offer}. */
  #agreed = 0;
  #ring: RingService | undefined;

  constructor(options: RemoteLinkOptions) {
    this.#options = options;
    this.#watch = options.loop.watch(options.channel.fd, Ready.IN, () => this.#ready());
  }

  /** Stops serving, without a call to `onEnd`. */
  cancel(): void {
    this.#watch.cancel();
    this.#ring?.close();
  }

  #ready(): void {
    try {
      this.#serve();
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#end(error);
    }
  }

  #serve(): void {
    const { channel } = this.#options;
    if (!channel.flush()) return;
    if (this.#waitingForRoom) this.#waitFor(Ready.IN);
    let arrival = channel.poll();
    while (arrival === "message") {
      this.#handle(channel.incoming);
      if (channel.unsent) return;
      arrival = channel.poll(false);
    }
    if (arrival === "end") this.#end(undefined);
  }

  #end(error: LinkError | undefined): void {
    this.cancel();
    // A proxy that died before it read a reply has gone away like any other.
    this.#options.onEnd(error?.failure === "closed" ? undefined : error);
  }

  #handle(message: Message): void {
    switch (message.command) {
      case Command.PCI_CFGREAD:
        return this.#readConfig(message);
      case Command.PCI_CFGWRITE:
        return this.#writeConfig(message);
      case Command.BAR_READ:
        return this.#readBar(message);
      case Command.BAR_WRITE:
        return this.#writeBar(message);
      case Command.SYNC_SYSMEM:
        return this.#syncMemory(message);
      case Command.SET_IRQFD:
        return this.#setIrqFd();
      case Command.DEVICE_RESET:
        this.#options.host.reset();
        this.#options.channel.outgoing.setEmptyReturn(); // as QEMU's remote has it
        return this.#post();
      case Command.RING_SETUP:
        return this.#setUpRing(message);
      case Command.PROXY_PING:
        return this.#answerPing(message);
      case Command.DEVICE_RESTARTED:
        return this.#restarted();
      default:
        throw new LinkError(
          `${commandName(message.command)}: a device process asks for nothing that this could answer`,
        );
    }
  }

  #readConfig(message: Message): void {
    const value = this.#options.host.readConfig(message.configAddress, message.configLength);
    if (value === undefined) return this.#reply(0xffffffff, 0xffffffff);
    const taken = this.#taken(message.configValue);
    this.#agreed |= taken;
    this.#reply(value, taken === 0 ? Offer.NONE : Offer.MARK | taken);
  }

  /** What this process takes of what a proxy offers. */
  #taken(offer: number): number {
    const ring = this.#options.accelerated && offers(offer, Offer.RING) ? Offer.RING : 0;
    const ping = offers(offer, Offer.PING) ? Offer.PING : 0;
    const restart = offers(offer, Offer.RESTART) ? Offer.RESTART : 0;
    return ring | ping | restart;
  }

  #writeConfig(message: Message): void {
    const { configAddress, configLength, configValue } = message;
    this.#acknowledge(this.#options.host.writeConfig(configAddress, configLength, configValue));
  }

  #readBar(message: Message): void {
    this.#options.host.readBar(message.barAddress, message.barSize, message.barMemory === 1, this.#value);
    this.#reply(this.#value.low, this.#value.high);
  }

  #writeBar(message: Message): void {
    const { barAddress, barSize, barMemory, barValueLow, barValueHigh } = message;
    const done = this.#options.host.writeBar(barAddress, barSize, barMemory === 1, barValueLow, barValueHigh);
    // The disk works while the reply wakes the guest.
    this.#options.loop.handOn();
    this.#acknowledge(done);
  }

  #syncMemory(message: Message): void {
    const descriptors = this.#options.channel.takeDescriptors();
    this.#options.memory.sync(descriptors.map((_, i) => message.region(i)), descriptors);
  }

  #setIrqFd(): void {
    const [irq, resample] = this.#options.channel.takeDescriptors();
    this.#options.line.connect(irq, resample);
  }

  #setUpRing(message: Message): void {
    if ((this.#agreed & Offer.RING) === 0) throw new LinkError("RING_SETUP: no ring was agreed upon");
    if (this.#ring !== undefined) throw new LinkError("RING_SETUP: there is a ring already");
    const { loop, channel, host } = this.#options;
    const geometry = message.ringGeometry;
    const [ring, doorbell] = channel.takeDescriptors();
    this.#ring = new RingService({ loop, host, geometry, ring, doorbell, onFailure: (error) => this.#end(error) });
    channel.outgoing.setRingReady(host.registers.layout);
    this.#post([host.registers.fd]);
  }

  #answerPing({ pingNumber }: Message): void {
    if ((this.#agreed & Offer.PING) === 0) throw new LinkError("PROXY_PING: no heartbeat was agreed upon");
    this.#options.channel.outgoing.setPong(pingNumber);
    this.#post();
  }

  #restarted(): void {
    if ((this.#agreed & Offer.RESTART) === 0) throw new LinkError("DEVICE_RESTARTED: that was not agreed upon");
    this.#options.host.restarted();
    this.#reply(0, 0);
  }

  #acknowledge(done: boolean): void {
    if (done) this.#reply(0, 0);
    else this.#reply(0xffffffff, 0xffffffff);
  }

  #reply(low: number, high: number): void {
    this.#options.channel.outgoing.setReturn(low, high);
    this.#post();
  }

  #post(descriptors?: readonly number[]): void {
    if (!this.#options.channel.post(this.#options.channel.outgoing, descriptors)) this.#waitFor(Ready.OUT);
  }

  #waitFor(events: number): void {
    this.#waitingForRoom = events === Ready.OUT;
    this.#watch.modify(events);
  }
}
