import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ACCESS_NAMES, type AccessName, type Measurement } from "../../guests/registers/mod.ts";
import { accessTimes } from "../../bench/device_access.ts";
import { ACCESS_CONTEST, COMPETITORS } from "../../bench/device_access_plan.ts";
import { LAB_CONTEST, LAB_MACHINES, labScript, readLabFigures } from "../../bench/lab_plan.ts";
import { LINK_PARTS } from "../../bench/link_bench.ts";
import { replaceResults } from "../../bench/report.ts";
import { RingResults } from "../../bench/ring_results.ts";
import { chooseScenarios } from "../../bench/startup_bench.ts";

const FILES = { kernel: "kernel.elf", disk: "disk.raw" };
const DOCUMENT = Deno.readTextFileSync(new URL("../../docs/performance.md", import.meta.url));

/** One round of the guest, each access of a kind taking so many cycles with the loop around it. */
function round(cycles: (name: AccessName) => number): Measurement[] {
  return ACCESS_NAMES.map((name) => ({ name, accesses: 10, cycles: 10 * cycles(name) }));
}

Deno.test("an access takes what its loop takes without what an empty one takes, in microseconds", () => {
  const times = accessTimes(round((name) => name === "nothing" ? 1000 : 21_000), 2_000_000);
  assertEquals(times.load, 10);
  assertEquals(times.nothing, 0.5);
});

Deno.test("of a guest's rounds the median counts", () => {
  const rounds = [5000, 900_000, 4000].flatMap((load) => round((name) => name === "load" ? load : 1000));
  assertAlmostEquals(accessTimes(rounds, 1_000_000).load, 4);
});

Deno.test("a kind of access that the guest did not measure is missed", () => {
  assertThrows(() => accessTimes(round(() => 1).slice(0, -1), 1000), Error, "config-read");
});

Deno.test("all machines have the same RAM and kernel, and the reference is one of them", () => {
  const commands = COMPETITORS.map(({ commands }) => commands(FILES).vmm);
  for (const option of ["-m", "-kernel", "-serial"]) {
    assertEquals(new Set(commands.map((command) => command[command.indexOf(option) + 1])).size, 1, option);
  }
  assert(ACCESS_CONTEST.machines.includes(ACCESS_CONTEST.reference));
});

Deno.test("only the plain wire is told to be plain", () => {
  const plain = COMPETITORS.filter(({ commands }) => commands(FILES).vmm.join(" ").includes("accel=off"));
  assertEquals(plain.map(({ name }) => name), ["splitvm, accel=off"]);
});

Deno.test("goals are by machines that take part", () => {
  for (const { tasks, machines } of [ACCESS_CONTEST, LAB_CONTEST]) {
    for (const { goals } of tasks) for (const name of Object.keys(goals)) assert(machines.includes(name), name);
  }
});

Deno.test("the link's parts are chosen by their common name, which nothing else has", () => {
  assertEquals(LINK_PARTS.filter(({ name }) => /link/i.test(name)).length, LINK_PARTS.length);
  assertEquals(chooseScenarios(/link/i), []);
});

Deno.test("each part's table has a place of its own in the document", () => {
  for (const place of [...LINK_PARTS.map(({ place }) => place), "bench:link-lab"]) replaceResults(DOCUMENT, "", place);
});

Deno.test("the ring's goals are for two CPUs, since nobody can spin for another on the same", () => {
  const [together, apart] = [{ name: "1", driver: "0", device: "0" }, { name: "2", driver: "0", device: "1" }];
  const results = new RingResults([together, apart]);
  results.add(together, { p50: 9, p99: 9, asleep: 9, store: 9 });
  results.add(apart, { p50: 0.3, p99: 3, asleep: 60, store: 0.1 });
  const goals = results.judged().filter(({ goal }) => goal !== undefined);
  assertEquals(goals.map(({ figure }) => figure), [0.3, 3, 0.1]);
  const lines = results.table().split("\n");
  assertEquals(lines.filter((line) => line.includes("missed")).length, 1);
  assertEquals(new Set(lines.map((line) => line.length)).size, 1);
});

Deno.test("ioping's figures are found in what a guest printed", () => {
  const line = (name: string) => `bench: ${name} 400 2000000000 200 52428800 1 2 3 4 410 2050000000\n`;
  const figures = readLabFigures(["random-read", "sequential-read", "sequential-write"].map(line).join(""));
  assertEquals([...figures].map(([{ name }, figure]) => [name, figure]), [
    ["random-read", 200],
    ["sequential-read", 50],
    ["sequential-write", 50],
  ]);
  assertThrows(() => readLabFigures(line("random-read")), Error, "sequential read");
});

Deno.test("a guest that came to no end is no guest that reached zero", () => {
  assertThrows(() => readLabFigures("bench: random-read 0 0 0 0 0 0 0 0 1 2000000000\n"), Error, "random read");
});

Deno.test("a guest in the lab measures each task once", () => {
  for (const { name } of LAB_CONTEST.tasks) assertEquals(labScript(4).split(`bench: ${name} `).length, 2);
  assertEquals(new Set(LAB_MACHINES.map(({ halves }) => halves)).size, LAB_MACHINES.length);
});
