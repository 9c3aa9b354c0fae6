import { assertEquals, assertStringIncludes } from "@std/assert";
import { atMost } from "../../bench/goals.ts";
import { type Contest, ContestResults, type Task } from "../../bench/machine_results.ts";

const LOAD: Task = { title: "load", unit: "µs", goals: { theirs: atMost(1.15) } };
const STORE: Task = { title: "store", unit: "µs", goals: {} };
const CONTEST: Contest<Task> = { tasks: [LOAD, STORE], machines: ["ours", "theirs", "absent"], reference: "theirs" };

function results(): ContestResults<Task> {
  const all = new ContestResults(CONTEST);
  for (const figure of [30, 10, 20]) all.add(LOAD, "ours", figure);
  for (const figure of [9, 10, 11]) all.add(LOAD, "theirs", figure);
  all.add(STORE, "ours", 5);
  return all;
}

Deno.test("medians are compared", () => {
  const [load, store] = results().lines();
  assertEquals(load.figures.get("ours"), { median: 20, min: 10, max: 30 });
  assertEquals(ContestResults.ratio(load, "ours", "theirs"), 2);
  assertEquals(ContestResults.ratio(store, "ours", "theirs"), undefined);
});

Deno.test("a machine that was not measured has no column", () => {
  const all = results();
  assertEquals(all.machines, ["ours", "theirs"]);
  assertEquals(all.table().includes("absent"), false);
});

Deno.test("the table has figures, ratios and goals, in columns of even width", () => {
  const lines = results().table().split("\n");
  assertEquals(new Set(lines.map((line) => line.length)).size, 1);
  const cells = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  assertEquals(cells(lines[0]), ["Operation", "Unit", "ours", "theirs", "ours : theirs", "goal, by theirs"]);
  const load = ["load", "µs", "20.0 (10.0–30.0)", "10.0 (9.00–11.0)", "2.00", "≤ 1.15: missed by 74%"];
  assertEquals(cells(lines[2]), load);
  assertEquals(cells(lines[3]), ["store", "µs", "5.00 (5.00–5.00)", "–", "–", "–"]);
});

Deno.test("ratios that have a goal are judged", () => {
  assertEquals(results().judged(), [{ name: "load, ours : theirs", figure: 2, goal: atMost(1.15) }]);
});

Deno.test("a chart has multiples of the reference, with the goal, and leaves out what the reference did not do", () => {
  const { groups } = results().chart("Title", "Caption");
  assertEquals(groups.map(({ title, goal }) => [title, goal]), [["load", 1.15]]);
  assertEquals(groups[0].bars.map(({ name, value }) => [name, value]), [["ours", 2], ["theirs", 1]]);
  assertStringIncludes(groups[0].bars[0].label, "2.00 ×");
});
