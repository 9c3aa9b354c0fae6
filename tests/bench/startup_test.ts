import { assertEquals } from "@std/assert";
import { replaceResults } from "../../bench/report.ts";
import { chooseScenarios } from "../../bench/startup_bench.ts";
import { SCENARIOS } from "../../bench/startup_plan.ts";
import { phaseTable, startTable } from "../../bench/startup_report.ts";
import { phaseLines, scenarioLines } from "../../bench/startup_results.ts";

const MACHINES = SCENARIOS[0];
const [SPLITVM, , MICROVM] = MACHINES.subjects;

function start(ready: number, firstInstruction: number | undefined = ready - 1) {
  return { firstInstruction, ready, cpu: 5 };
}

Deno.test("every scenario has one competitor with whom the others are compared", () => {
  for (const { subjects } of SCENARIOS) assertEquals(subjects.filter(({ isReference }) => isReference).length, 1);
});

Deno.test("all start-ups are chosen by their common name, and one by its competitor", () => {
  assertEquals(chooseScenarios(/start/i).length, SCENARIOS.length);
  assertEquals(chooseScenarios(/microvm/i).map(({ subjects }) => subjects.map(({ name }) => name)), [["QEMU microvm"]]);
  assertEquals(chooseScenarios(/random read/i), []);
});

Deno.test("QEMU's machines have the same RAM, consoles and kernel as splitvm's", () => {
  const shared = (command: readonly string[], option: string) => command[command.indexOf(option) + 1];
  const commands = MACHINES.subjects.map(({ command }) => command!({ kernel: "kernel.elf", disk: "disk.raw" }));
  for (const option of ["-m", "-debugcon", "-serial", "-kernel"]) {
    assertEquals(new Set(commands.map((command) => shared(command, option))).size, 1, option);
  }
});

Deno.test("a competitor that takes twice as long has a ratio of two; the reference has none", () => {
  const times = new Map([[SPLITVM, [10, 30, 20].map((ready) => start(ready))], [MICROVM, [start(40)]]]);
  const lines = scenarioLines(MACHINES, times);
  assertEquals(lines.map(({ subject, ratio }) => [subject, ratio]), [[SPLITVM.name, undefined], [MICROVM.name, 2]]);
  assertEquals(lines[0].ready, { median: 20, min: 10, max: 30 });
  assertEquals(lines[0].firstInstruction, { median: 19, min: 9, max: 29 });
});

Deno.test("what could not be started has no line, and without the reference there are no ratios", () => {
  const lines = scenarioLines(MACHINES, new Map([[MICROVM, [start(40)]]]));
  assertEquals(lines.map(({ subject, ratio }) => [subject, ratio]), [[MICROVM.name, undefined]]);
});

Deno.test("phases are medians of several traces, threads in the order in which they began", () => {
  const trace = (offset: number) =>
    [
      `splitvm: startup: late: ${30 + offset}.00 ms: entry`,
      "splitvm: something else",
      `splitvm: startup: first: ${10 + offset}.00 ms: entry`,
      `splitvm: startup: first: ${15 + 2 * offset}.50 ms: program`,
    ].join("\n");
  assertEquals(phaseLines([trace(0), trace(2), trace(1)]), [
    { thread: "first", phase: "entry", at: 11, took: 11 },
    { thread: "first", phase: "program", at: 17.5, took: 6.5 },
    { thread: "late", phase: "entry", at: 31, took: 31 },
  ]);
});

Deno.test("tables have columns of even width", () => {
  const lines = scenarioLines(MACHINES, new Map([[SPLITVM, [start(20)]], [MICROVM, [start(1234, undefined)]]]));
  const phases = phaseLines(["splitvm: startup: vCPU 0: 1.00 ms: entry\nsplitvm: startup: vCPU 0: 20.00 ms: unknown"]);
  for (const table of [startTable(lines), phaseTable(phases)]) {
    assertEquals(new Set(table.split("\n").map((line) => line.length)).size, 1);
  }
});

Deno.test("the tables of start-up have a place of their own in the document", () => {
  const part = (name: string, text: string) => `<!-- ${name}:begin -->\n\n${text}\n\n<!-- ${name}:end -->\n`;
  const document = part("bench:start-up", "old") + part("bench", "disk");
  assertEquals(
    replaceResults(document, "new", "bench:start-up"),
    part("bench:start-up", "new") + part("bench", "disk"),
  );
});
