/** The device process asleep and awake beside vCPU threads: its real loop, its real epoll, real doorbells. */
import { assert, assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createEventFd, drainEventFd, Ready, signalEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { Space } from "../../src/link/ring/layout.ts";
import { RemoteMachine } from "../../src/remote/remote_machine.ts";
import { workersEnded } from "../support/leaks.ts";
import { readProc } from "../support/process_tree.ts";
import { latestTestDevice } from "../support/remote_harness.ts";
import { RingProxy } from "../support/ring_proxy.ts";
import { runs } from "../support/runs.ts";
import type { TestDevice } from "../support/test_device.ts";
import { RESTING, type VcpuMessage, type VcpuReport } from "./ring_vcpu_worker.ts";

/** What the threads of one device do. */
interface Work extends Pick<VcpuMessage, "rounds" | "spin" | "seed"> {
  readonly vcpus: number;
  readonly rest?: number;
  readonly ahead?: number;
}

/** A clock that nobody believes, in nanoseconds: who looks for as short as can be falls asleep most often. */
const AHEAD = 1e9;

/** A device with its ring, and threads that use it. */
class Guest {
  readonly device: TestDevice;
  readonly #proxy: RingProxy;
  readonly #reports: Promise<VcpuReport>[];

  constructor(machine: RemoteMachine, id: string, { vcpus, rounds, spin, seed, rest = 0, ahead = AHEAD }: Work) {
    this.#proxy = new RingProxy(machine, id);
    this.device = latestTestDevice();
    const geometry = { lanes: vcpus + 1, slots: 8 };
    const { ring, shadow, producers } = this.#proxy.setUp(geometry);
    // By the machine's own lane: the threads find the BAR decoded.
    const setUp = producers[vcpus];
    setUp.store(Space.CONFIG, PciConfig.BAR0 + 4, 4, 0xfebf0000);
    setUp.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.MEMORY);
    setUp.fence();
    const { address, bytes } = ring.memory.mapping;
    const left = new Int32Array(new SharedArrayBuffer(4));
    left[0] = vcpus;
    this.#reports = Array.from({ length: vcpus }, (_, lane) =>
      runVcpu({
        ring: { address, length: bytes.length },
        shadow: { ...shadow.layout, address: shadow.mapping.address, length: shadow.layout.size },
        geometry,
        lane,
        doorbell: ring.ringer,
        link: this.#proxy.channel.fd,
        left,
        seed: seed + lane,
        rounds,
        spin,
        rest,
        ahead,
      }));
  }

  /** To be called once the machine has ended. @returns how often the device process was woken. */
  async finish(): Promise<number> {
    const reports = await Promise.all(this.#reports);
    this.#proxy.close();
    assertEquals(reports.map(({ failure }) => failure), reports.map(() => ""));
    return reports.reduce((sum, { rings }) => sum + rings, 0);
  }
}

function runVcpu(message: VcpuMessage): Promise<VcpuReport> {
  const worker = new Worker(new URL("./ring_vcpu_worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve({ failure: event.message, rings: 0 });
    };
    worker.postMessage(message);
  });
}

/** Runs guests to their end on a machine of this thread. @returns how often each had to wake it. */
async function runGuests(works: readonly Work[], each: (guests: Guest[], machine: RemoteMachine) => void = () => {}) {
  const log: string[] = [];
  const machine = new RemoteMachine((line) => log.push(line));
  try {
    const guests = works.map((work, i) => new Guest(machine, `robj${i}`, work));
    while (machine.size > 0) {
      machine.turn();
      each(guests, machine);
    }
    const rings = await Promise.all(guests.map((guest) => guest.finish()));
    assertEquals(log, []);
    return rings;
  } finally {
    machine.close();
    await workersEnded();
  }
}

for (
  const [what, work] of [
    ["with threads that look for answers", { vcpus: 1, spin: 200_000, seed: 1 }],
    ["with threads that sleep at once", { vcpus: 1, spin: 0, seed: 2 }],
    ["with several threads", { vcpus: 3, spin: 50_000, seed: 3 }],
    ["with threads that tell when they ring", { vcpus: 1, spin: 0, seed: 9, ahead: 0 }],
  ] as const
) {
  Deno.test(`no wake-up of a device process is lost, and each load sees every store before it: ${what}`, async () => {
    const [rings] = await runGuests([{ ...work, rounds: runs(5000, 200_000) }]);
    assert(rings > 100, `the process was asleep ${rings} times only`);
  });
}

Deno.test("a device process sleeps for all of its rings together", async () => {
  const work = { vcpus: 1, spin: 0, rounds: runs(3000, 100_000) };
  const rings = await runGuests([{ ...work, seed: 4 }, { ...work, seed: 5 }]);
  assert(rings.every((count) => count > 30), `${rings}`);
});

/** User and system time of this thread, in ticks (proc(5), /proc/pid/stat, fields 14 and 15). */
function ticks(): number {
  const fields = readProc("/proc/thread-self/stat").split(") ")[1].split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

Deno.test("a device process whose guests rest sleeps, and uses no processor", async () => {
  const work = { vcpus: 1, spin: 0, rounds: 200, rest: runs(400, 3000) };
  let turns = 0, before = -1, used = 0;
  await runGuests([{ ...work, seed: 6 }, { ...work, seed: 7 }], (guests) => {
    const resting = guests.every(({ device }) => device.seen.some(([, , offset]) => offset === RESTING));
    if (!resting) return;
    if (before < 0) before = ticks();
    turns++;
    used = ticks() - before;
  });
  assert(before >= 0);
  // A look after the last request, the requests at the end, and the ends of the links.
  assert(turns < 30, `${turns} turns`);
  assert(used <= 3, `${used} ticks`);
});

Deno.test("a descriptor waits for 8 turns at most while vCPUs keep a ring busy", async () => {
  const eventFd = createEventFd();
  let handled = 0, waited = 0, longest = 0, isWatched = false;
  await runGuests([{ vcpus: 2, spin: 50_000, seed: 8, rounds: runs(5000, 50_000) }], (_, { loop }) => {
    if (!isWatched) {
      loop.watch(eventFd, Ready.IN, () => {
        drainEventFd(eventFd);
        handled++;
        waited = 0;
      });
      isWatched = true;
    }
    if (waited === 0) signalEventFd(eventFd);
    longest = Math.max(longest, waited++);
  });
  assert(handled > 100 && longest <= 8, `${handled} times, after up to ${longest} turns`);
  closeFd(eventFd);
});
