/**
 * Results as a Markdown table, and a document that has it.
 *
 * @module
 */
import type { Line, Score } from "./results.ts";

const HEADINGS = [
  "Operation",
  "Image",
  "Cache",
  "CPUs",
  "Unit",
  "splitvm",
  "QEMU",
  "QEMU's aio",
  "splitvm : QEMU",
  "CPU µs/op, splitvm : QEMU",
  "CPU µs/op, driver",
];

/** How many leading columns are text, which is aligned to the left. */
const TEXT_COLUMNS = 5;

const BEGIN = "<!-- bench:begin -->";
const END = "<!-- bench:end -->";

const NONE = "–";

/** A figure with as many digits as it is good for. */
function number(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function range(score: Score | undefined): string {
  if (score === undefined) return NONE;
  const { median, min, max } = score.figure;
  return `${number(median)} (${number(min)}–${number(max)})`;
}

function cells(line: Line): string[] {
  const { splitvm, qemu, ratio } = line;
  return [
    ...[line.workload, line.image, line.cache, line.cpus, line.unit],
    range(splitvm),
    range(qemu),
    qemu?.subject.replace("QEMU aio=", "") ?? NONE,
    ratio?.toFixed(2) ?? NONE,
    splitvm && qemu ? `${number(splitvm.deviceCpu)} : ${number(qemu.deviceCpu)}` : NONE,
    splitvm ? number(splitvm.driverCpu) : NONE,
  ];
}

/** The table, with columns of even width. */
export function markdownTable(lines: readonly Line[]): string {
  const rows = [HEADINGS, ...lines.map(cells)];
  const widths = HEADINGS.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const pad = (text: string, i: number) => i < TEXT_COLUMNS ? text.padEnd(widths[i]) : text.padStart(widths[i]);
  const rule = widths.map((width, i) => i < TEXT_COLUMNS ? "-".repeat(width) : "-".repeat(width - 1) + ":");
  const [head, ...body] = rows.map((row) => row.map(pad));
  return [head, rule, ...body].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Breaks text into lines as `deno fmt` does in a document, so that what is written there passes its check. */
export function wrap(text: string, width = 120): string {
  const [first, ...words] = text.split(/\s+/);
  const lines = [first];
  for (const word of words) {
    const line = `${lines.at(-1)} ${word}`;
    if (line.length <= width) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines.join("\n");
}

/** Puts `text` between the markers of a document. @throws {Error} when it has none. */
export function replaceResults(document: string, text: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`There is no ${BEGIN} … ${END} in the document`);
  return `${document.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${document.slice(end)}`;
}
