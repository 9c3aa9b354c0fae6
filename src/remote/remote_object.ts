/**
 * `-object remote-object`: a device, everything around it, and the link over which its proxy speaks to it.
 *
 * Each has a guest memory and an interrupt line of its own, so a device process may host devices of several machines
 * without one seeing the RAM of another.
 *
 * @module
 */
import type { PciDevice } from "../device/pci_device.ts";
import { errorChain } from "../error_chain.ts";
import { closeFd } from "../ffi/file.ts";
import { isUnixStreamSocket } from "../ffi/socket.ts";
import { Channel } from "../link/channel.ts";
import type { LinkError } from "../link/link_error.ts";
import { createDevice, type DeviceConfig } from "./devices.ts";
import type { EventLoop } from "../event_loop.ts";
import { InterruptLine } from "./interrupt_line.ts";
import { PciHost } from "./pci_host.ts";
import { RemoteLink } from "./remote_link.ts";
import type { RunState } from "./run_state.ts";
import { SystemMemory } from "./system_memory.ts";

/** What a remote object is made of. */
export interface RemoteObjectOptions {
  readonly id: string;
  /** A connected UNIX stream socket. The object owns it, and closes it also when the device cannot be made. */
  readonly fd: number;
  readonly device: DeviceConfig;
  readonly loop: EventLoop;
  readonly runState: RunState;
  /** Whether the proxy may set up a ring. @default {true} */
  readonly accelerated?: boolean;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** A hosted device. It is served in the turns of its loop. */
export class RemoteObject {
  readonly id: string;
  readonly #memory = new SystemMemory();
  readonly #line: InterruptLine;
  readonly #log: (line: string) => void;
  readonly #channel: Channel;
  readonly #host: PciHost;
  readonly #link: RemoteLink;
  readonly #device: PciDevice;
  readonly #releases: (() => void)[] = [];
  #state: "served" | "ended" | "closed" = "served";
  #failed = false;

  /** @throws {Error} one line: what is wrong with the socket or the device. */
  constructor({ id, fd, device, loop, runState, accelerated = true, log }: RemoteObjectOptions) {
    this.id = id;
    this.#log = log;
    if (!isUnixStreamSocket(fd)) throw new Error(`remote-object ${id}: fd ${fd} is not an open UNIX stream socket`);
    this.#line = new InterruptLine(loop);
    this.#host = new PciHost({
      memory: this.#memory.memory,
      line: this.#line,
      clock: loop,
      log: (line) => log(`device ${device.id}: ${line}`),
    });
    try {
      const onClose = (release: () => void) => void this.#releases.push(release);
      this.#device = createDevice(device, { host: this.#host, loop, runState, onClose });
      this.#host.attach(this.#device);
    } catch (error) {
      this.#release();
      this.#host.close();
      closeFd(fd);
      throw error;
    }
    this.#channel = new Channel(fd);
    this.#link = new RemoteLink({
      loop,
      channel: this.#channel,
      host: this.#host,
      memory: this.#memory,
      line: this.#line,
      accelerated,
      onEnd: (error) => this.#end(error),
    });
  }

  /** Whether the link has ended; what remains is to {@linkcode close}. */
  get ended(): boolean {
    return this.#state !== "served";
  }

  /** Whether the link ended by an error, or the device could not be closed in good order. */
  get failed(): boolean {
    return this.#failed;
  }

  /**
   * Closes everything, in an order that lets nothing reach what is gone: first the proxy is told, then the device
   * stops, then what it holds on the host is flushed and closed. Calling it again does nothing.
   */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#link.cancel();
    this.#channel.close();
    this.#host.reset();
    this.#device.close?.();
    this.#release();
    this.#line.disconnect();
    this.#memory.close();
    this.#host.close();
  }

  #end(error: LinkError | undefined): void {
    this.#state = "ended";
    if (error === undefined) return;
    const cause = error.cause instanceof Error ? ` (${error.cause.message})` : "";
    this.#fail(`${error.message}${cause}; the link is closed`);
  }

  #fail(what: string): void {
    this.#failed = true;
    this.#log(`remote-object ${this.id}: ${what}`);
  }

  #release(): void {
    for (const release of this.#releases.splice(0).reverse()) {
      try {
        release();
      } catch (error) {
        this.#fail(errorChain(error));
      }
    }
  }
}
