/**
 * Accesses through memory that is shared with the device process: stores are posted, loads wait for their answer, or are served from the
 * device's shadow.
 *
 * @module
 */
import { type AccessSize, type BarDescription, PciConfig } from "../device/config_space.ts";
import type { Channel } from "../link/channel.ts";
import type { SystemMemoryRegion } from "../link/message.ts";
import { Space } from "../link/ring/layout.ts";
import type { RingProducer } from "../link/ring/producer.ts";
import type { DeviceAccess } from "./device_access.ts";

/**
 * See the module. Accesses to BARs need no lock, since each thread has a lane of its own; `syncMemory` is called under the machine's
 * lock, for it uses the socket.
 */
export class RingAccess implements DeviceAccess {
  readonly #producer: RingProducer;
  readonly #channel: Channel;
  readonly #timeout: number;

  /** @param timeout How long the device may take to answer by the socket, in milliseconds. */
  constructor(producer: RingProducer, channel: Channel, timeout: number) {
    this.#producer = producer;
    this.#channel = channel;
    this.#timeout = timeout;
  }

  readConfig(offset: number, size: AccessSize): number {
    return this.#producer.load(Space.CONFIG, offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.#producer.storeAndWait(Space.CONFIG, offset, size, value);
  }

  readBar({ index }: BarDescription, offset: number, size: AccessSize): number {
    return this.#producer.load(Space.BAR0 + index, offset, size);
  }

  /** Of writes, those to memory alone are posted (PCI 3.0, section 3.2.5): after an OUT, software relies on it that the device has it. */
  writeBar({ index, space }: BarDescription, offset: number, size: AccessSize, value: number): void {
    if (space === "memory") this.#producer.store(Space.BAR0 + index, offset, size, value);
    else this.#producer.storeAndWait(Space.BAR0 + index, offset, size, value);
  }

  reset(): void {
    this.#producer.reset();
  }

  /** The socket is another way than the ring: what was asked for there before has to be done, and this before anything that follows. */
  syncMemory(regions: readonly SystemMemoryRegion[], fd: number): void {
    const { outgoing } = this.#channel;
    const deadline = performance.now() + this.#timeout;
    this.#producer.fence();
    outgoing.setSyncSysmem(regions);
    this.#channel.send(outgoing, regions.map(() => fd), Math.max(0, deadline - performance.now()));
    outgoing.setConfigRead(PciConfig.VENDOR_ID, 4);
    this.#channel.call(outgoing, Math.max(0, deadline - performance.now()));
  }
}
