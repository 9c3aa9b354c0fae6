/**
 * Rings within one thread, for tests: the consumer is served while the producer sleeps.
 *
 * @module
 */
import { initializeRing, type RingGeometry, type RingMemory, ringSize } from "../../../src/link/ring/layout.ts";
import { RingConsumer, type RingConsumerOptions, type RingTarget } from "../../../src/link/ring/consumer.ts";
import { RingProducer, type RingProducerOptions } from "../../../src/link/ring/producer.ts";
import type { ProducerHost } from "../../../src/link/ring/producer_host.ts";

/** A BAR of 256 bytes. */
export const BAR = 1;
export const SPACES: readonly number[] = [0, 0x100, 0, 0, 0, 0, 0x100];
export const SECOND = 1e9;

/** An empty ring that no other process has. */
export function plainRing(geometry: RingGeometry, first = 0): RingMemory {
  const words = new Int32Array(ringSize(geometry) / 4);
  initializeRing(words, geometry, first);
  return { words, address: 0n };
}

/** A device that notes what is asked of it, and whose loads answer with numbers of their own. */
export class NotedDevice implements RingTarget {
  readonly log: string[] = [];
  answer = 0x12345678;

  load(space: number, offset: number, size: number): number {
    this.log.push(`load ${space}:${offset}/${size}`);
    return this.answer;
  }

  store(space: number, offset: number, size: number, value: number): void {
    this.log.push(`store ${space}:${offset}/${size}=${value}`);
  }

  reset(): void {
    this.log.push("reset");
  }
}

/** A host whose clock moves by a microsecond a look, and by the whole time that somebody sleeps. */
export class PlainHost implements ProducerHost {
  time = 1;
  rings = 0;
  there = true;
  sleeps = 0;
  /** What happens elsewhere during a sleep. */
  meanwhile: () => void = () => {};

  readonly now = () => this.time += 1000;

  ring(): void {
    this.rings++;
  }

  sleep(_address: bigint, _expected: number, timeout: number): void {
    this.sleeps++;
    this.time += timeout;
    this.meanwhile();
  }

  isPeerThere(): boolean {
    return this.there;
  }
}

/** All that makes up a ring within one thread. */
export interface PlainPair {
  readonly memory: RingMemory;
  readonly geometry: RingGeometry;
  readonly host: PlainHost;
  readonly device: NotedDevice;
  readonly consumer: RingConsumer;
  readonly producers: readonly RingProducer[];
}

/** A consumer that is served while a producer sleeps, and a producer for each lane. */
export function plainPair(
  { lanes = 1, slots = 8, ...options }:
    & Partial<RingGeometry & Pick<RingProducerOptions, "shadow" | "deadline">>
    & Partial<Pick<RingConsumerOptions, "hook" | "wake">> = {},
): PlainPair {
  const geometry = { lanes, slots };
  const memory = plainRing(geometry);
  const host = new PlainHost();
  const device = new NotedDevice();
  const { hook, wake = () => {}, ...rest } = options;
  const consumer = new RingConsumer({ memory, geometry, spaces: SPACES, target: device, wake, hook });
  host.meanwhile = () => void consumer.serve(1000);
  const producers = Array.from(
    { length: lanes },
    (_, lane) => new RingProducer({ memory, geometry, lane, host, deadline: SECOND, spin: { longest: 0 }, ...rest }),
  );
  return { memory, geometry, host, device, consumer, producers };
}
