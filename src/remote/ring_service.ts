/**
 * Serves the ring that a proxy has set up over its link: shared memory in which its vCPUs leave their accesses.
 *
 * @module
 */
import { monotonicNow } from "../ffi/clock.ts";
import { answerDoorbell } from "../ffi/doorbell.ts";
import { Ready } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import type { Mapping } from "../ffi/memory.ts";
import type { EventLoop, Hook } from "../event_loop.ts";
import { LinkError } from "../link/link_error.ts";
import { RingConsumer } from "../link/ring/consumer.ts";
import { type RingGeometry, sinceDoorbell } from "../link/ring/layout.ts";
import { mapRing, ringMemory } from "../link/ring/memory.ts";
import type { PolledSource } from "../polled_sources.ts";
import type { Watch } from "../watches.ts";
import type { PciHost } from "./pci_host.ts";

/** What a {@linkcode RingService} needs. */
export interface RingServiceOptions {
  readonly loop: EventLoop;
  readonly host: PciHost;
  readonly geometry: RingGeometry;
  /** The memory file. The service owns it, and closes it also when it is refused. */
  readonly ring: number;
  /** The listening end of the doorbell; owned likewise. */
  readonly doorbell: number;
  /** The proxy breaks the rules. What remains is to {@linkcode RingService.close}, which may be done at once. */
  readonly onFailure: (error: LinkError) => void;
}

/** The most requests that are carried out in one go, and after how many of them the clock is looked at. */
const [BATCH, LOOK_INTERVAL] = [64, 4];

/** After this long no further request is begun, in nanoseconds: a store that starts SCRIPTS takes up to 2 ms. */
const LONGEST_BATCH = 1e6;

/** A ring, served from the loop. */
export class RingService implements PolledSource {
  readonly #mapping: Mapping;
  readonly #consumer: RingConsumer;
  readonly #doorbell: Doorbell;
  readonly #polling: Hook;
  readonly #onFailure: (error: LinkError) => void;

  /** @throws {LinkError} when one of the descriptors is not what it should be; both are closed then. */
  constructor({ loop, host, geometry, ring, doorbell, onFailure }: RingServiceOptions) {
    this.#onFailure = onFailure;
    let bell: Doorbell | undefined;
    try {
      this.#doorbell = bell = new Doorbell(loop, doorbell, onFailure);
      this.#mapping = mapRing(ring, geometry);
    } catch (error) {
      bell?.close();
      throw error;
    } finally {
      closeFd(ring); // the mapping does not need it
    }
    const memory = ringMemory(this.#mapping);
    this.#consumer = new RingConsumer({ memory, geometry, spaces: host.spaces, target: host });
    this.#polling = loop.poll(this);
  }

  serve(): boolean {
    try {
      return this.#serveBatch() > 0;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#onFailure(error);
      return true;
    }
  }

  #serveBatch(): number {
    let served = this.#consumer.serve(LOOK_INTERVAL);
    if (served < LOOK_INTERVAL) return served;
    const end = monotonicNow() + LONGEST_BATCH;
    while (served < BATCH && monotonicNow() < end) {
      const more = this.#consumer.serve(LOOK_INTERVAL);
      served += more;
      if (more < LOOK_INTERVAL) break;
    }
    return served;
  }

  get pending(): boolean {
    return this.#consumer.pending;
  }

  announceSleep(): boolean {
    return this.#consumer.announceSleep();
  }

  awake(): number | undefined {
    const rungAt = this.#consumer.awake();
    return rungAt === undefined ? undefined : sinceDoorbell(rungAt, monotonicNow());
  }

  /** Stops serving and gives everything back. Calling it again does nothing. */
  close(): void {
    this.#polling.cancel();
    this.#doorbell.close();
    this.#mapping.unmap();
  }
}

/**
 * The listening end of a doorbell. That nobody can ring it any more is no news: the link's socket tells of the proxy's end.
 */
class Doorbell {
  readonly #fd: number;
  readonly #watch: Watch;
  readonly #onFailure: (error: LinkError) => void;
  #closed = false;

  constructor(loop: EventLoop, fd: number, onFailure: (error: LinkError) => void) {
    this.#fd = fd;
    this.#onFailure = onFailure;
    try {
      answerDoorbell(fd);
      this.#watch = loop.watch(fd, Ready.IN, () => this.#answer());
    } catch (cause) {
      closeFd(fd);
      throw new LinkError("RING_SETUP: the descriptor is not one of a doorbell", "protocol", { cause });
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.cancel();
    closeFd(this.#fd);
  }

  #answer(): void {
    try {
      answerDoorbell(this.#fd);
    } catch (cause) {
      this.#onFailure(new LinkError("ring: the doorbell cannot be answered", "system", { cause }));
    }
  }
}
