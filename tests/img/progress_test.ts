import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { humanTime, Progress } from "../../src/img/progress.ts";

/** A terminal that keeps what is written, and a clock that is set by hand. */
function stage(total: number, options: { columns?: number; patience?: number } = {}) {
  const written: string[] = [];
  const clock = { now: 0 };
  const progress = new Progress({ total, write: (text) => written.push(text), now: () => clock.now, ...options });
  const at = (milliseconds: number, done: number) => {
    clock.now = milliseconds;
    progress.update(done);
  };
  return { progress, written, clock, at };
}

/** What a terminal's line shows after all of a text. */
function shown(text: string): string {
  let line = "";
  for (const part of text.split("\r")) line = part + line.slice(part.length);
  return line.trimEnd();
}

Deno.test("work that is over soon draws nothing", () => {
  const { progress, written, at } = stage(100);
  at(100, 50);
  at(499, 99);
  progress.finish();
  assertEquals(written, []);
});

Deno.test("a bar shows how much is done, how fast, and how long it will take", () => {
  const { written, at } = stage(100 * 2 ** 20);
  at(10_000, 25 * 2 ** 20);
  assertEquals(
    written,
    ["\r[=======>                      ]   25.00%  2.5 MiB/s  ETA 0:30"],
  );
});

Deno.test("a bar is drawn at most ten times a second", () => {
  const { written, at } = stage(10_000);
  for (let ms = 1000; ms < 2000; ms++) at(ms, ms);
  assertEquals(written.length, 10);
});

Deno.test("a shorter line covers the longer one before", () => {
  const { written, at } = stage(2 ** 40);
  at(1_000, 1);
  const before = shown(written.join("")).length;
  at(10_000, 2 ** 39);
  assert(written[1].length - 1 >= before);
  assert(shown(written.join("")).endsWith("ETA 0:10"));
});

Deno.test("a bar that was drawn is complete at the end, and its line is ended", () => {
  const { progress, written, clock, at } = stage(1000);
  at(1000, 500);
  clock.now = 2000;
  progress.finish();
  assertEquals(written.at(-1), "\n");
  assert(shown(written.slice(0, -1).join("")).includes("100.00%"));
  progress.abandon();
  progress.update(1);
  assertEquals(written.filter((text) => text === "\n").length, 1);
});

Deno.test("a bar that was asked for is drawn at the end however short the work was", () => {
  const { progress, written } = stage(1000, { patience: 0 });
  progress.finish();
  assert(written.join("").includes("100.00%"));
});

Deno.test("work that is cut short leaves the line to what is printed next", () => {
  const { progress, written, at } = stage(1000);
  at(1000, 500);
  progress.abandon();
  assertEquals(written.at(-1), "\n");
});

Deno.test("work that is cut short before anything was drawn prints nothing", () => {
  const { progress, written } = stage(1000);
  progress.abandon();
  assertEquals(written, []);
});

Deno.test("no line is longer than the terminal is wide, whatever is counted", () => {
  fc.assert(fc.property(
    fc.record({ total: fc.nat(2 ** 30), done: fc.nat(2 ** 31), columns: fc.integer({ min: 1, max: 200 }) }),
    ({ total, done, columns }) => {
      const { progress, written, at } = stage(total, { columns });
      at(600, done);
      at(700, done / 2);
      progress.finish();
      for (const text of written) assert(text.replace("\r", "").trimEnd().length < Math.max(columns, 1), text);
    },
  ));
});

Deno.test("times are in minutes and seconds, and hours where there are some", () => {
  assertEquals([0, 6.2, 61, 3600, 3723].map(humanTime), ["0:00", "0:07", "1:01", "1:00:00", "1:02:03"]);
});
