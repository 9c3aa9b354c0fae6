import { assertEquals, assertThrows } from "@std/assert";
import { parseCpuList, placementsOn } from "../../bench/placement.ts";
import { allRows, subjectsOf } from "../../bench/plan.ts";
import { markdownTable, replaceResults, wrap } from "../../bench/report.ts";
import { Results } from "../../bench/results.ts";
import { DISK_WORKLOADS } from "../../bench/workloads.ts";

const ONE_CPU = { name: "1", driver: "0", device: "0" };
const IOPS = { workload: DISK_WORKLOADS[0], format: "raw", cache: "none", placement: ONE_CPU } as const;
const CACHED = { ...IOPS, cache: "writeback" } as const;

function measurement(figure: number) {
  return { figure, deviceCpu: 10, driverCpu: 5 };
}

Deno.test("every workload is measured on raw and qcow2, with the page cache and around it", () => {
  const rows = allRows([ONE_CPU]);
  assertEquals(rows.length, 4 * DISK_WORKLOADS.length);
  for (const workload of DISK_WORKLOADS) assertEquals(rows.filter((row) => row.workload === workload).length, 4);
});

Deno.test("QEMU competes with each of its ways to do I/O; aio=native goes with O_DIRECT only", () => {
  const names = (row: typeof IOPS | typeof CACHED) => subjectsOf(row, true).map(({ name }) => name);
  assertEquals(names(IOPS).slice(1), ["QEMU aio=threads", "QEMU aio=native", "QEMU aio=io_uring"]);
  assertEquals(names(CACHED).slice(1), ["QEMU aio=threads", "QEMU aio=io_uring"]);
});

Deno.test("medians are compared, and the best of QEMU's variants counts", () => {
  const results = new Results([IOPS]);
  const [splitvm, threads, native] = subjectsOf(IOPS, true);
  for (const figure of [300, 100, 200]) results.add(IOPS, splitvm, measurement(figure));
  for (const figure of [50, 60, 1000]) results.add(IOPS, threads, measurement(figure));
  for (const figure of [400, 90, 80]) results.add(IOPS, native, measurement(figure));
  const [{ splitvm: ours, qemu, ratio }] = results.lines();
  assertEquals(ours?.figure, { median: 200, min: 100, max: 300 });
  assertEquals([qemu?.subject, qemu?.figure.median], ["QEMU aio=native", 90]);
  assertEquals(ratio, 200 / 90);
});

Deno.test("a row that one side could not run has no ratio", () => {
  const results = new Results([IOPS]);
  results.add(IOPS, subjectsOf(IOPS, true)[1], measurement(50));
  const [line] = results.lines();
  assertEquals([line.splitvm, line.ratio], [undefined, undefined]);
  assertEquals(new Set(markdownTable([line]).split("\n").map((text) => text.length)).size, 1);
});

Deno.test("the table replaces what is between the markers of a document, and nothing else", () => {
  const document = "# A\n\n<!-- bench:begin -->\n\nold\n\n<!-- bench:end -->\n\nB\n";
  assertEquals(replaceResults(document, "new"), document.replace("old", "new"));
  assertThrows(() => replaceResults("# A\n", "new"), Error, "bench:begin");
});

Deno.test("driver and device process share a CPU, or each have their own, where there are two", () => {
  assertEquals(placementsOn([4]), [{ name: "1", driver: "4", device: "4" }]);
  assertEquals(placementsOn([0, 2, 3]), [
    { name: "1", driver: "0", device: "0" },
    { name: "2", driver: "0", device: "2,3" },
  ]);
});

Deno.test("CPU lists are read as the kernel writes them", () => {
  assertEquals(parseCpuList("0-2,5,8-9"), [0, 1, 2, 5, 8, 9]);
});

Deno.test("text is broken where the next word would not fit, and nowhere else", () => {
  assertEquals(wrap("one two\nthree four", 9), "one two\nthree\nfour");
  assertEquals(wrap("one-two-three four", 9), "one-two-three\nfour");
  assertEquals(wrap("one two", 7), "one two");
});
