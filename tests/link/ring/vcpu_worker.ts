/**
 * A vCPU thread that loads and stores at random, and knows what its loads have to say.
 *
 * @module
 */
import { bytesAt } from "../../../src/ffi/memory.ts";
import type { AccessSize, RingGeometry } from "../../../src/link/ring/layout.ts";
import { ringMemory } from "../../../src/link/ring/memory.ts";
import { RingProducer } from "../../../src/link/ring/producer.ts";
import { producerHost } from "../../../src/link/ring/producer_host.ts";
import type { SpinOptions } from "../../../src/link/ring/waiting.ts";
import { type Delay, delayHook } from "./delays.ts";
import { randomNumbers } from "./random.ts";

/** What a thread is told. */
export interface VcpuMessage {
  readonly address: bigint;
  readonly length: number;
  readonly geometry: RingGeometry;
  readonly lane: number;
  readonly doorbell: number;
  readonly link: number;
  readonly seed: number;
  /** How many accesses it makes. */
  readonly accesses: number;
  readonly spin: Pick<SpinOptions, "longest">;
  readonly delay: Delay;
  /** A lock in the first word, then what the registers hold that all threads share. */
  readonly shared: SharedArrayBuffer;
}

/** How many bytes of the BAR each thread has for itself; as many that all share follow. */
export const OWN_BYTES = 256;

const DEADLINE = 60e9;

/** Registers as they must be: a stretch of the BAR. */
class Model {
  readonly #bytes: DataView;
  readonly #start: number;

  constructor(bytes: DataView, start: number) {
    this.#bytes = bytes;
    this.#start = start;
  }

  store(producer: RingProducer, at: number, size: AccessSize, value: number): void {
    if (size === 4) this.#bytes.setUint32(at, value, true);
    else if (size === 2) this.#bytes.setUint16(at, value, true);
    else this.#bytes.setUint8(at, value);
    producer.store(0, this.#start + at, size, value);
  }

  check(producer: RingProducer, at: number, size: AccessSize): void {
    const found = producer.load(0, this.#start + at, size);
    const bytes = this.#bytes;
    const expected = size === 4
      ? bytes.getUint32(at, true)
      : size === 2
      ? bytes.getUint16(at, true)
      : bytes.getUint8(at);
    if (found === expected) return;
    throw new Error(`a load of ${size} bytes at ${this.#start + at} brought ${found}, not ${expected}`);
  }
}

/** Holds a lock as guests do, in their memory. */
function locked(lock: Int32Array, action: () => void): void {
  while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) Atomics.wait(lock, 0, 1, 1);
  action();
  Atomics.store(lock, 0, 0);
  Atomics.notify(lock, 0, 1);
}

function run(message: VcpuMessage): void {
  const { address, length, geometry, lane, doorbell, link, seed, accesses, spin, delay, shared } = message;
  const producer = new RingProducer({
    memory: ringMemory({ address, bytes: bytesAt(address, length) }),
    geometry,
    lane,
    host: producerHost(doorbell, link),
    deadline: DEADLINE,
    spin,
    hook: delayHook(delay, seed + 1),
  });
  const random = randomNumbers(seed);
  const own = new Model(new DataView(new ArrayBuffer(OWN_BYTES)), OWN_BYTES * lane);
  const common = new Model(new DataView(shared, 4), OWN_BYTES * geometry.lanes);
  const lock = new Int32Array(shared, 0, 1);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < accesses; i++) {
    const size = ([1, 2, 4] as const)[random(3)];
    const at = random(OWN_BYTES - 3);
    const isLoad = random(3) === 0;
    const access = (model: Model) => {
      if (isLoad) model.check(producer, at, size);
      else model.store(producer, at, size, random(0x10000) * 0x10000 + random(0x10000));
    };
    if (random(4) === 0) locked(lock, () => access(common));
    else access(own);
    if (random(50) === 0) producer.fence();
    // Time in the guest, in which the device process falls asleep.
    if (random(20) === 0) Atomics.wait(pause, 0, 0, random(20) / 100);
  }
}

self.addEventListener("message", (event) => {
  let failure = "";
  try {
    run((event as MessageEvent<VcpuMessage>).data);
  } catch (error) {
    failure = `${error}`;
  }
  (self as unknown as Pick<Worker, "postMessage">).postMessage(failure);
  self.close();
});
