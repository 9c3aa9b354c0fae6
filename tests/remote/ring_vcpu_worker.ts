/**
 * A vCPU thread beside a device process that is another thread: it loads and stores, and pauses in between as a guest does.
 *
 * @module
 */
import { monotonicNow } from "../../src/ffi/clock.ts";
import { bytesAt } from "../../src/ffi/memory.ts";
import { shutdownSocket } from "../../src/ffi/socket.ts";
import type { AccessSize, RingGeometry } from "../../src/link/ring/layout.ts";
import { ringMemory } from "../../src/link/ring/memory.ts";
import { RingProducer } from "../../src/link/ring/producer.ts";
import { producerHost } from "../../src/link/ring/producer_host.ts";
import { type ShadowRange, ShadowReader } from "../../src/link/ring/shadow.ts";
import { randomNumbers } from "../link/ring/random.ts";
import { TestBar } from "../support/test_device.ts";

/** What the thread is told. */
export interface VcpuMessage {
  readonly ring: { readonly address: bigint; readonly length: number };
  readonly shadow: { readonly address: bigint; readonly length: number; readonly ranges: readonly ShadowRange[] };
  readonly geometry: RingGeometry;
  readonly lane: number;
  readonly doorbell: number;
  /** The proxy's end of the link, which the last thread to end shuts down. */
  readonly link: number;
  /** How many threads have not ended. */
  readonly left: Int32Array;
  readonly seed: number;
  readonly rounds: number;
  /** The longest time that the thread looks for an answer, in nanoseconds. */
  readonly spin: number;
  /**
   * How far its clock is ahead, in nanoseconds. The device process does not believe when somebody rang that is ahead of it, and looks for
   * no longer than one that knows nothing.
   */
  readonly ahead: number;
  /** How long it rests at the end, in milliseconds; before, it stores 1 to {@linkcode RESTING}. */
  readonly rest: number;
}

/** What it says at its end. */
export interface VcpuReport {
  readonly failure: string;
  /** How often the device process had to be woken. */
  readonly rings: number;
}

/** Bytes that a thread has for itself: some in the shadow, some beside it. */
export const OWN_BYTES = 16;

/** A register that says that there will be no accesses for a while. */
export const RESTING = 0x800;

const DEADLINE = 60e9;

/** Own registers: offsets of {@linkcode OWN_BYTES} in the memory BAR, and what they hold. */
function ownRegisters(lane: number): { start: number; bytes: DataView }[] {
  return [OWN_BYTES * lane, 0x400 + OWN_BYTES * lane].map((start) => ({
    start,
    bytes: new DataView(new ArrayBuffer(OWN_BYTES)),
  }));
}

function store(bytes: DataView, at: number, size: AccessSize, value: number): void {
  for (let i = 0; i < size; i++) bytes.setUint8(at + i, value >>> (8 * i));
}

function expected(bytes: DataView, at: number, size: AccessSize): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 0x100 + bytes.getUint8(at + i);
  return value;
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Nothing, some microseconds awake, or a sleep of up to a millisecond. */
function rest(random: (below: number) => number): void {
  const kind = random(8);
  if (kind === 0) Atomics.wait(pause, 0, 0, random(100) / 100);
  if (kind > 4) return;
  const end = monotonicNow() + random(100_000);
  while (monotonicNow() < end);
}

function run(message: VcpuMessage, producer: RingProducer): void {
  const random = randomNumbers(message.seed);
  const own = ownRegisters(message.lane);
  for (let round = 0; round < message.rounds; round++) {
    const size = ([1, 2, 4] as const)[random(3)];
    const at = random(OWN_BYTES / size) * size;
    const { start, bytes } = own[random(own.length)];
    if (random(2) === 0) {
      const value = random(0x10000) * 0x10000 + random(0x10000);
      store(bytes, at, size, value);
      producer.store(TestBar.MEMORY, start + at, size, value);
    } else {
      const found = producer.load(TestBar.MEMORY, start + at, size);
      if (found === expected(bytes, at, size)) continue;
      throw new Error(`a load of ${size} bytes at ${start + at} brought ${found}, not ${expected(bytes, at, size)}`);
    }
    rest(random);
  }
  if (message.rest === 0) return;
  producer.store(TestBar.MEMORY, RESTING, 4, 1);
  Atomics.wait(pause, 0, 0, message.rest);
}

self.addEventListener("message", (event) => {
  const message = (event as MessageEvent<VcpuMessage>).data;
  const { ring, shadow, geometry, lane, spin, ahead } = message;
  const report = { failure: "", rings: 0 };
  const host = producerHost(message.doorbell, message.link);
  try {
    const producer = new RingProducer({
      memory: ringMemory({ address: ring.address, bytes: bytesAt(ring.address, ring.length) }),
      geometry,
      lane,
      host: { ...host, ring: () => (report.rings++, host.ring()), now: () => host.now() + ahead },
      deadline: DEADLINE,
      shadow: new ShadowReader(bytesAt(shadow.address, shadow.length), shadow.ranges),
      spin: { longest: spin },
    });
    run(message, producer);
    producer.fence();
  } catch (error) {
    report.failure = `${error}`;
  }
  (self as unknown as Pick<Worker, "postMessage">).postMessage(report satisfies VcpuReport);
  if (Atomics.sub(message.left, 0, 1) === 1) shutdownSocket(message.link);
  self.close();
});
