/**
 * Results as a Markdown table, and a document that has it.
 *
 * @module
 */
import type { Line, Score } from "./results.ts";
import type { Summary } from "./statistics.ts";

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

/** What stands in a cell that has no figure. */
export const NONE = "–";

/** A figure with as many digits as it is good for. */
export function number(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function range(score: Score | undefined): string {
  if (score === undefined) return NONE;
  return spread(score.figure);
}

/** A median with the range. */
export function spread({ median, min, max }: Summary): string {
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

/** The table of the disk. */
export function markdownTable(lines: readonly Line[]): string {
  return table([HEADINGS, ...lines.map(cells)], (column) => column < TEXT_COLUMNS);
}

/**
 * A table with columns of even width.
 *
 * @param rows The headings, then the lines.
 * @param isText Whether a column holds text, which is aligned to the left.
 */
export function table(rows: readonly (readonly string[])[], isText: (column: number) => boolean): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const pad = (text: string, i: number) => isText(i) ? text.padEnd(widths[i]) : text.padStart(widths[i]);
  const rule = widths.map((width, i) => isText(i) ? "-".repeat(width) : "-".repeat(width - 1) + ":");
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

/** An item of a list, broken into lines likewise. */
export function listItem(text: string): string {
  return `- ${wrap(text, 118).replaceAll("\n", "\n  ")}`;
}

/**
 * Puts `text` between the markers of a document.
 *
 * @param part What the markers are called: `<!-- bench:begin -->`.
 * @throws {Error} when there are none.
 */
export function replaceResults(document: string, text: string, part = "bench"): string {
  const [begin, end] = ["begin", "end"].map((edge) => `<!-- ${part}:${edge} -->`);
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`There is no ${begin} … ${end} in the document`);
  return `${document.slice(0, from + begin.length)}\n\n${text}\n\n${document.slice(to)}`;
}
