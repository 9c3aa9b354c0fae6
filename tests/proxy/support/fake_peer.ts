/**
 * The far end of a link, for a proxy on the same thread: it answers before it is asked, and what it was asked is looked at afterwards.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { closeFd } from "../../../src/ffi/file.ts";
import { createSocketPair, MessageSocket } from "../../../src/ffi/socket.ts";
import { syscalls } from "../../../src/ffi/syscall.ts";
import { Channel } from "../../../src/link/channel.ts";
import type { LinkError } from "../../../src/link/link_error.ts";
import { Command, commandName, Message } from "../../../src/link/message.ts";
import type { RingGeometry } from "../../../src/link/ring/layout.ts";
import type { Irqfd } from "../../../src/ffi/kvm.ts";
import type { ProxyHost } from "../../../src/proxy/pci_proxy.ts";

const SHUT_WR = 1;

/** A request, its name first. */
export type Request = readonly (string | number)[];

/** See the module. */
export class FakePeer {
  /** The proxy's end. */
  readonly fd: number;
  /** The upper half of its replies. */
  answerToOffers = 0;
  readonly #channel: Channel;
  #open = true;

  constructor() {
    const [near, far] = createSocketPair();
    this.fd = near;
    this.#channel = new Channel(far);
  }

  /** Answers a request to come with a value. */
  reply(...values: readonly number[]): void {
    for (const value of values) this.send((message) => message.setReturn(value, this.answerToOffers));
  }

  /** Sends any message. */
  send(make: (message: Message) => void, descriptors: readonly number[] = []): void {
    const message = new Message();
    make(message);
    this.#channel.send(message, descriptors);
  }

  /** Sends bytes, which may be no message, or no whole one. */
  sendRaw(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly number[] = []): void {
    assertEquals(new MessageSocket(this.#channel.fd).send(bytes, 0, bytes.length, descriptors, false), bytes.length);
  }

  /** The descriptors of the next request, which is a RING_SETUP; the caller closes them. */
  takeRing(): { readonly geometry: RingGeometry; readonly ring: number; readonly doorbell: number } {
    assertEquals([this.#channel.poll(), commandName(this.#channel.incoming.command)], ["message", "RING_SETUP"]);
    const [ring, doorbell] = this.#channel.takeDescriptors();
    return { geometry: this.#channel.incoming.ringGeometry, ring, doorbell };
  }

  /**
   * What has been asked since the last call. Descriptors that came are counted, and closed.
   *
   * @param most How many are taken. @default {Infinity}
   */
  requests(most = Infinity): Request[] {
    const requests: Request[] = [];
    while (requests.length < most && this.#channel.poll() === "message") {
      const descriptors = this.#channel.takeDescriptors();
      requests.push([...describe(this.#channel.incoming, descriptors.length)]);
      descriptors.forEach(closeFd);
    }
    return requests;
  }

  /** Whether the proxy has ended the link. */
  get cutOff(): boolean {
    return this.#channel.poll() === "end";
  }

  /** Says that nothing will follow what it has sent. It can still be sent to, as one that dies only when it has been asked. */
  endStream(): void {
    assertEquals(syscalls().shutdown(this.#channel.fd, SHUT_WR), 0);
  }

  /** Dies. */
  close(): void {
    this.#open = false;
    this.#channel.close();
  }

  /** Closes both ends. */
  dispose(): void {
    if (this.#open) this.close();
    closeFd(this.fd);
  }
}

function* describe(message: Message, descriptors: number): Generator<string | number> {
  yield commandName(message.command);
  switch (message.command) {
    case Command.PCI_CFGREAD:
      return yield* [message.configAddress, message.configLength];
    case Command.PCI_CFGWRITE:
      return yield* [message.configAddress, message.configLength, message.configValue];
    case Command.BAR_READ:
      return yield* [message.barMemory, message.barAddress, message.barSize];
    case Command.BAR_WRITE:
      return yield* [message.barMemory, message.barAddress, message.barSize, message.barValueLow];
    case Command.SYNC_SYSMEM:
      for (let i = 0; i < descriptors; i++) {
        const { gpa, size, offset } = message.region(i);
        yield* [gpa, size, offset];
      }
      return;
    case Command.SET_IRQFD:
      return yield descriptors;
    case Command.PROXY_PING:
      return yield message.pingNumber;
  }
}

/** A machine that remembers what the proxy asked of it. */
export class RecordingMachine implements ProxyHost {
  /** Irqfds as they were attached and detached, in order. */
  readonly wiring: [what: "attach" | "detach", irqfd: Irqfd][] = [];
  /** Why peers were cut off. */
  readonly lost: string[] = [];
  mappingChanges = 0;

  readonly vm = {
    attachIrqfd: (irqfd: Irqfd) => void this.wiring.push(["attach", irqfd]),
    detachIrqfd: (irqfd: Irqfd) => void this.wiring.push(["detach", irqfd]),
  };
  exclusively(action: () => void): void {
    action();
  }
  mappingChanged(): void {
    this.mappingChanges++;
  }
  peerLost(error: LinkError): void {
    this.lost.push(error.message);
  }
}
