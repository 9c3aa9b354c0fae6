import { assert, assertEquals } from "@std/assert";
import { type Chart, describeChart, svgChart } from "../../bench/chart.ts";

const CHART: Chart = {
  title: "Loads & stores",
  caption: "Less is better.",
  groups: [
    {
      title: "load <4 bytes>",
      bars: [{ name: "ours", value: 1, label: "1.00 × (9 µs)" }, { name: "theirs", value: 2, label: "2.00 × (18 µs)" }],
      goal: 1.15,
    },
    { title: "store", bars: [{ name: "ours", value: 4, label: "4.00 ×" }] },
  ],
};

/** Attributes of all elements of a kind. */
function attributes(svg: string, element: string, name: string): string[] {
  return [...svg.matchAll(new RegExp(`<${element} [^>]*\\b${name}="([^"]*)"`, "g"))].map(([, value]) => value);
}

Deno.test("a bar twice as long stands for twice as much, in all groups alike", () => {
  const [ours, theirs, store] = attributes(svgChart(CHART), "rect", "width").map(Number);
  assertEquals([theirs / ours, store / ours].map((ratio) => ratio.toFixed(1)), ["2.0", "4.0"]);
});

Deno.test("the mark stands where a bar of its value would end; a group without a goal has none", () => {
  const svg = svgChart(CHART);
  const [left] = attributes(svg, "rect", "x").map(Number);
  const [ours] = attributes(svg, "rect", "width").map(Number);
  const marks = attributes(svg, "line", "x1").map(Number);
  assertEquals(marks.length, 1);
  assert(Math.abs(marks[0] - (left + 1.15 * ours)) < 0.2);
});

Deno.test("text is escaped where it stands in a picture", () => {
  const svg = svgChart(CHART);
  assert(svg.includes("Loads &amp; stores") && svg.includes("load &lt;4 bytes&gt;"));
  assert(!/&(?!(amp|lt|gt|quot);)/.test(svg));
});

Deno.test("a picture says in words all that it shows, and is named by its title", () => {
  const words = "Less is better. load <4 bytes>: ours 1.00 × (9 µs), theirs 2.00 × (18 µs). store: ours 4.00 ×.";
  assertEquals(describeChart(CHART), words);
  const svg = svgChart(CHART);
  assertEquals(attributes(svg, "svg", "aria-labelledby"), ["title description"]);
  assert(svg.includes('<title id="title">') && svg.includes('<desc id="description">'));
});

Deno.test("a picture has colours for pages that are dark", () => {
  assert(svgChart(CHART).includes("@media(prefers-color-scheme:dark)"));
});

Deno.test("nothing is drawn outside of the picture", () => {
  const svg = svgChart(CHART);
  const [width, height] = ["width", "height"].map((name) => Number(attributes(svg, "svg", name)[0]));
  for (const x of attributes(svg, "text", "x")) assert(Number(x) < width);
  for (const y of [...attributes(svg, "text", "y"), ...attributes(svg, "rect", "y")]) assert(Number(y) < height);
});

Deno.test("a chart without bars is a picture all the same", () => {
  assert(!svgChart({ title: "Nothing", caption: "", groups: [] }).includes("NaN"));
  const empty = {
    title: "Nothing",
    caption: "",
    groups: [{ title: "none", bars: [{ name: "a", value: 0, label: "0" }] }],
  };
  assert(!/NaN|Infinity/.test(svgChart(empty)));
});
