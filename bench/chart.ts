/**
 * Bar charts as SVG: horizontal bars in groups, readable on light and dark pages, with a text alternative.
 *
 * @module
 */

/** A bar. */
export interface Bar {
  readonly name: string;
  /** Its length. */
  readonly value: number;
  /** What stands beside it. */
  readonly label: string;
}

/** Bars that are compared with one another. */
export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
  /** A mark across the group, in the bars' unit. */
  readonly goal?: number;
}

/** A chart. */
export interface Chart {
  readonly title: string;
  /** What the length of a bar is, and what the mark is. */
  readonly caption: string;
  readonly groups: readonly BarGroup[];
}

/** Measures, in pixels. */
const WIDTH = 860;
const MARGIN = 16;
const NAMES = 190;
const LABELS = 170;
const LENGTH = WIDTH - 2 * MARGIN - NAMES - LABELS;
const HEAD = 64;
const GROUP_HEAD = 26;
const BAR_STEP = 20;
const BAR = 14;
const GROUP_GAP = 14;

/** Colours that those who see few colours tell apart (Okabe and Ito), for light pages and dark ones; a bar's is its place in its group. */
const COLOURS = {
  light: ["#0072b2", "#56b4e9", "#7f7f7f", "#d55e00"],
  dark: ["#4ba6e0", "#8fd0f5", "#a6a6a6", "#f0813c"],
};

/** The colours' style sheet. A page's own does not reach into an image, but whether a reader prefers dark pages does. */
function styleSheet(): string {
  const fills = (colours: readonly string[]) => colours.map((colour, i) => `.bar${i}{fill:${colour}}`).join("");
  return "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:17px;font-weight:600}.group{font-weight:600}" +
    `.caption{fill:#59636e}.goal{stroke:#1f2328;stroke-width:2;stroke-dasharray:4 3}${fills(COLOURS.light)}` +
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.caption{fill:#9198a1}.goal{stroke:#e6edf3}" +
    `${fills(COLOURS.dark)}}`;
}

/** Text as it stands in SVG. */
function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function text(x: number, y: number, content: string, attributes = ""): string {
  return `<text x="${x}" y="${y}"${attributes}>${escape(content)}</text>`;
}

function groupHeight({ bars }: BarGroup): number {
  return GROUP_HEAD + bars.length * BAR_STEP + GROUP_GAP;
}

/** One group, its upper edge at `top`; `scale` is pixels for a unit. */
function drawGroup({ title, bars, goal }: BarGroup, top: number, scale: number): string[] {
  const left = MARGIN + NAMES;
  const first = top + GROUP_HEAD;
  const at = (value: number) => Number((left + value * scale).toFixed(1));
  const drawn = bars.flatMap(({ name, value, label }, i) => {
    const y = first + i * BAR_STEP;
    const baseline = y + BAR - 3;
    const end = at(value);
    return [
      text(left - 8, baseline, name, ' text-anchor="end"'),
      `<rect class="bar${i % COLOURS.light.length}" x="${left}" y="${y}" width="${
        (end - left).toFixed(1)
      }" height="${BAR}"/>`,
      text(left + LENGTH + 8, baseline, label),
    ];
  });
  const last = first + bars.length * BAR_STEP - BAR_STEP + BAR;
  const mark = goal === undefined
    ? []
    : [`<line class="goal" x1="${at(goal)}" x2="${at(goal)}" y1="${first - 3}" y2="${last + 3}"/>`];
  return [text(MARGIN, top + 16, title, ' class="group"'), ...drawn, ...mark];
}

/** All that the chart shows, in words. */
export function describeChart({ caption, groups }: Chart): string {
  const inWords = groups.map(({ title, bars }) =>
    `${title}: ${bars.map(({ name, label }) => `${name} ${label}`).join(", ")}.`
  );
  return [caption, ...inWords].join(" ");
}

/** The chart as a file of its own. */
export function svgChart(chart: Chart): string {
  const { title, caption, groups } = chart;
  const longest = Math.max(...groups.flatMap(({ bars, goal = 0 }) => [goal, ...bars.map(({ value }) => value)]));
  const scale = longest > 0 ? LENGTH / longest : 0;
  let top = HEAD;
  const body = groups.flatMap((group) => {
    const drawn = drawGroup(group, top, scale);
    top += groupHeight(group);
    return drawn;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" width="${WIDTH}" height="${top}" role="img" ` +
    `aria-labelledby="title description">`,
    `<title id="title">${escape(title)}</title>`,
    `<desc id="description">${escape(describeChart(chart))}</desc>`,
    `<style>${styleSheet()}</style>`,
    text(MARGIN, 26, title, ' class="title"'),
    text(MARGIN, 48, caption, ' class="caption"'),
    ...body,
    "</svg>",
    "",
  ].join("\n");
}
