import { assert, assertEquals, assertThrows } from "@std/assert";
import { Signal } from "../../../src/ffi/process.ts";
import { LinkError } from "../../../src/link/link_error.ts";
import { workersEnded } from "../../support/leaks.ts";
import { readProc } from "../../support/process_tree.ts";
import { runs } from "../../support/runs.ts";
import type { Delay } from "./delays.ts";
import { DeviceProcess } from "./two_processes.ts";
import { OWN_BYTES, type VcpuMessage } from "./vcpu_worker.ts";

const GEOMETRY = { lanes: 3, slots: 8 };
const QUIET = { geometry: GEOMETRY, barSize: OWN_BYTES, spin: {}, delay: "none", seed: 1 } as const;

/** One vCPU thread's work. @returns what it complains of, if anything. */
function runVcpu(message: VcpuMessage): Promise<string> {
  const worker = new Worker(new URL("./vcpu_worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve(event.message);
    };
    worker.postMessage(message);
  });
}

/** Loads and stores of several threads, each of which knows what its loads have to say. */
async function runModel(seed: number, longest: number, delay: Delay, accesses: number): Promise<void> {
  const shared = new SharedArrayBuffer(4 + OWN_BYTES);
  const barSize = OWN_BYTES * (GEOMETRY.lanes + 1);
  const device = new DeviceProcess({ geometry: GEOMETRY, barSize, spin: { longest }, delay, seed });
  try {
    const { address, bytes: { length } } = device.ring.mapping;
    const complaints = await Promise.all(Array.from({ length: GEOMETRY.lanes }, (_, lane) =>
      runVcpu({
        address,
        length,
        geometry: GEOMETRY,
        lane,
        doorbell: device.doorbell,
        link: device.link,
        seed: seed + 100 * lane,
        accesses,
        spin: { longest },
        delay,
        shared,
      })));
    assertEquals(complaints, complaints.map(() => ""), `seed ${seed}`);
  } finally {
    device.close();
    await workersEnded();
  }
}

const STEPS: readonly Delay[] = [
  "filled",
  "published",
  "saw the consumer asleep",
  "claimed the consumer",
  "producer has to wait",
  "producer announced",
  "producer woken",
  "taken",
  "completed",
  "saw the producer asleep",
  "claimed the producer",
  "consumer is idle",
  "consumer announced",
  "consumer falls asleep",
  "consumer woken",
  "any",
];

for (const delay of STEPS) {
  Deno.test(`each load sees every store before it, of its thread or under a lock, with hold-ups: ${delay}`, async () => {
    await runModel(1, 0, delay, runs(1000, 20_000));
  });
}

Deno.test("each load sees every store before it, with both sides awake", async () => {
  for (let seed = 1; seed <= runs(1, 3); seed++) await runModel(seed, 50_000, "none", runs(20_000, 500_000));
});

Deno.test("each load sees every store before it, with both sides asleep in between", async () => {
  for (let seed = 1; seed <= runs(1, 3); seed++) await runModel(seed, 0, "none", runs(1000, 100_000));
});

/** Runs `body` with a producer whose device has answered once. */
function withDevice(body: (device: DeviceProcess) => void): () => void {
  return () => {
    const device = new DeviceProcess(QUIET);
    try {
      device.producer({ lane: 0, deadline: 60e9 }).fence();
      body(device);
    } finally {
      device.close();
    }
  };
}

Deno.test(
  "a device process that is killed ends a load long before the deadline",
  withDevice((device) => {
    const producer = device.producer({ lane: 1, deadline: 3600e9 });
    device.child.kill(Signal.STOP);
    producer.store(0, 0, 4, 1);
    device.child.kill(Signal.KILL);
    const error = assertThrows(() => producer.load(0, 0, 4), LinkError) as LinkError;
    assertEquals(error.failure, "closed");
  }),
);

Deno.test(
  "a device process that hangs is given up at the deadline",
  withDevice((device) => {
    device.child.kill(Signal.STOP);
    const producer = device.producer({ lane: 1, deadline: 50e6 });
    producer.store(0, 0, 4, 1);
    const error = assertThrows(() => producer.load(0, 0, 4), LinkError) as LinkError;
    assertEquals(error.message, "an access has had no answer for 50 ms");
  }),
);

/** User and system time of a process, in ticks (proc(5), /proc/pid/stat, fields 14 and 15). */
function ticks(pid: number): number {
  const fields = readProc(`/proc/${pid}/stat`).split(") ")[1].split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

Deno.test("a device process without requests uses no processor", async () => {
  const device = new DeviceProcess(QUIET);
  try {
    const producer = device.producer({ lane: 0, deadline: 60e9 });
    for (let i = 0; i < 1000; i++) producer.load(0, 0, 4);
    // It may still be starting other threads, and compiling.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = ticks(device.child.pid);
    await new Promise((resolve) => setTimeout(resolve, runs(300, 3000)));
    assert(ticks(device.child.pid) - before <= 2);
  } finally {
    device.close();
  }
});
