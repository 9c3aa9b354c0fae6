/**
 * The shared-memory ring without a guest: the round trip of a load, and what a posted store costs who posts it.
 *
 * @module
 */
import { monotonicNow } from "../src/ffi/clock.ts";
import { createDoorbell } from "../src/ffi/doorbell.ts";
import { closeFd } from "../src/ffi/file.ts";
import { spawn } from "../src/ffi/process.ts";
import { createSocketPair } from "../src/ffi/socket.ts";
import { createRingMemory, ringMemory } from "../src/link/ring/memory.ts";
import { RingProducer } from "../src/link/ring/producer.ts";
import { producerHost } from "../src/link/ring/producer_host.ts";
import { childEnvironment } from "../tests/support/child.ts";
import { DEVICE_DOORBELL, DEVICE_LINK, DEVICE_RING } from "../tests/support/ring_device.ts";
import { runTool } from "../tests/support/tool.ts";
import { allPlacements, pinSelf, type Placement } from "./placement.ts";
import { median } from "./statistics.ts";

const GEOMETRY = { lanes: 1, slots: 64 };
const BAR = 1;
const DEADLINE = 10e9;

/** How many stores are posted before a load waits for them: no more than fit. */
const BURST = 32;

/** Medians and the 99th percentile, in microseconds. */
export interface RingFigures {
  /** A load with both sides awake. */
  readonly p50: number;
  readonly p99: number;
  /** A load that has to wake the device process first. */
  readonly asleep: number;
  /** What a store costs who posts it. */
  readonly store: number;
}

/** Measures on these CPUs, for `seconds` each. */
export function measureRing(placement: Placement, seconds: number): RingFigures {
  pinSelf(placement);
  const ring = createRingMemory(GEOMETRY);
  const [ringer, listener] = createDoorbell();
  const [link, far] = createSocketPair();
  const device = spawn({
    command: [
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-ffi",
      "--allow-read",
      new URL("./ring_device.ts", import.meta.url).pathname,
      `${GEOMETRY.lanes}`,
      `${GEOMETRY.slots}`,
    ],
    env: childEnvironment(),
    descriptors: new Map([[DEVICE_RING, ring.fd], [DEVICE_DOORBELL, listener], [DEVICE_LINK, far]]),
  });
  for (const fd of [ring.fd, listener, far]) closeFd(fd);
  try {
    const memory = ringMemory(ring.mapping);
    const host = producerHost(ringer, link);
    const producer = new RingProducer({ memory, geometry: GEOMETRY, lane: 0, host, deadline: DEADLINE });
    producer.fence(); // it is there
    runTool("taskset", "--all-tasks", "--cpu-list", "--pid", placement.device, `${device.pid}`);
    loadTimes(producer, seconds);
    storeTimes(producer, seconds / 4);
    const times = loadTimes(producer, seconds);
    const stores = storeTimes(producer, seconds);
    const asleep = percentile(wakingTimes(producer), 0.5);
    return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), asleep, store: median(stores) };
  } finally {
    closeFd(link);
    device.wait();
    device.close();
    closeFd(ringer);
    ring.mapping.unmap();
  }
}

const MOST_SAMPLES = 1 << 20;

/** Round trips, one by one. The clock takes part in each: its own time is taken off. */
function loadTimes(producer: RingProducer, seconds: number): Float64Array {
  const times = new Float64Array(MOST_SAMPLES);
  const overhead = clockTime();
  let count = 0;
  let before = monotonicNow();
  for (const end = before + 1e9 * seconds; before < end && count < MOST_SAMPLES; count++) {
    before = monotonicNow();
    producer.load(BAR, (count & 63) << 2, 4);
    times[count] = monotonicNow() - before - overhead;
  }
  return times.subarray(0, count);
}

/** How often the device process is given time to fall asleep, and how much, in milliseconds. */
const NAPS = 200;
const NAP = 1;

/** Round trips to a device process that sleeps. */
function wakingTimes(producer: RingProducer): Float64Array {
  const word = new Int32Array(new SharedArrayBuffer(4));
  return Float64Array.from({ length: NAPS }, () => {
    Atomics.wait(word, 0, 0, NAP);
    const before = monotonicNow();
    producer.load(BAR, 0, 4);
    return monotonicNow() - before;
  });
}

/** Bursts of stores: the time until the last is posted, for each. The load that waits for them is not counted. */
function storeTimes(producer: RingProducer, seconds: number): number[] {
  const times: number[] = [];
  const overhead = clockTime();
  for (const end = monotonicNow() + 1e9 * seconds; monotonicNow() < end;) {
    const before = monotonicNow();
    for (let i = 0; i < BURST; i++) producer.store(BAR, (i & 63) << 2, 4, i);
    times.push((monotonicNow() - before - overhead) / BURST / 1000);
    producer.load(BAR, 0, 4);
  }
  return times;
}

/** What two readings of the clock have between them, in nanoseconds. */
function clockTime(): number {
  const times = Array.from({ length: 10_000 }, () => -monotonicNow() + monotonicNow());
  return median(times);
}

/** In microseconds. */
function percentile(times: Float64Array, part: number): number {
  return times.toSorted()[Math.floor(part * times.length)] / 1000;
}

if (import.meta.main) {
  for (const placement of allPlacements()) {
    const { p50, p99, asleep, store } = measureRing(placement, 1);
    console.log(
      `${placement.name} CPU: round trip p50 ${p50.toFixed(2)} µs, p99 ${p99.toFixed(2)} µs, ` +
        `asleep ${asleep.toFixed(2)} µs; posted store ${store.toFixed(2)} µs`,
    );
  }
}
