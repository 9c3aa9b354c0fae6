import { assertEquals, assertThrows } from "@std/assert";
import { jobsOf, type Plan, readPlan, UsageError } from "./engine/plan.ts";

const KNOWN = ["scsi", "qmp"];

function plan(...args: string[]): Plan {
  return readPlan(args, KNOWN) as Plan;
}

Deno.test("a plan without options is a minute for every target, with the corpus left as it is", () => {
  const { budget, targets, keep } = plan();
  assertEquals({ budget, targets, keep }, { budget: { seconds: 60 }, targets: KNOWN, keep: 0 });
});

Deno.test("a budget is seconds or inputs", () => {
  assertEquals(plan("--budget=90s").budget, { seconds: 90 });
  assertEquals(plan("--budget=1000").budget, { inputs: 1000 });
});

Deno.test("what is wrong is repeated as it was written", () => {
  for (const word of ["--budget=10m", "--budget=0", "--budget=0s", "--budget=-1s", "--budget=", "--seed=x"]) {
    assertThrows(() => plan(word), UsageError, `${word}:`);
  }
  for (const word of ["--keep=1001", "--keep=few", "--target=scsi2", "--frobnicate", "qmp"]) {
    assertThrows(() => plan(word), UsageError, `${word}:`);
  }
});

Deno.test("a budget that is none is told what one is", () => {
  for (const word of ["--budget=5m", "--budget=", "--budget=ss"]) {
    assertThrows(() => plan(word), UsageError, `${word}: expected seconds, such as 60s, or a number of inputs`);
  }
});

Deno.test("an option that takes one value is given once", () => {
  for (const name of ["budget", "seed", "keep"]) {
    assertThrows(() => plan(`--${name}=1`, `--${name}=2`), UsageError, `--${name}=2: --${name} is given twice`);
  }
});

Deno.test("help is given whatever else there is", () => {
  assertEquals(readPlan(["--help"], KNOWN), "help");
  assertEquals(readPlan(["--seed=1", "-h"], KNOWN), "help");
});

Deno.test("a target that is named twice is one target", () => {
  assertEquals(plan("--target=qmp", "--target=scsi", "--target=qmp").targets, ["qmp", "scsi"]);
});

Deno.test("processes with the same target share its inputs, and have seeds of their own", () => {
  const share = (budget: string, processes: number) =>
    jobsOf(plan("--target=qmp", `--budget=${budget}`, "--seed=5"), processes, () => [])
      .map(({ inputs, seconds, seed }) => [inputs ?? seconds, seed]);
  assertEquals(share("1000", 3), [[333, 5], [333, 6], [334, 7]]);
  assertEquals(share("2", 4), [[1, 5], [1, 6]]);
  assertEquals(share("60s", 2), [[60, 5], [60, 6]]);
});

Deno.test("where there are as many targets as processes, each has one process", () => {
  const jobs = jobsOf(plan("--budget=100"), 2, (target) => [target]);
  assertEquals(jobs.map(({ target, inputs, corpus }) => [target, inputs, corpus]), [
    ["scsi", 100, ["scsi"]],
    ["qmp", 100, ["qmp"]],
  ]);
});
