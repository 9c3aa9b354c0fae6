/**
 * What the ring came to, by placement.
 *
 * @module
 */
import { atMost, type Goal, type Judged, verdict } from "./goals.ts";
import type { Placement } from "./placement.ts";
import { spread, table } from "./report.ts";
import type { RingFigures } from "./ring_bench.ts";
import { summarize, type Summary } from "./statistics.ts";

/** A figure: its name for people, and its goal in microseconds where both sides have a CPU. */
interface RingTask {
  readonly key: keyof RingFigures;
  readonly title: string;
  readonly goal?: Goal;
}

const TASKS: readonly RingTask[] = [
  { key: "p50", title: "round trip, median", goal: atMost(0.5) },
  { key: "p99", title: "round trip, 99th percentile", goal: atMost(2) },
  { key: "store", title: "posted store, to who posts it", goal: atMost(0.2) },
  { key: "asleep", title: "round trip that wakes the device process" },
];

/** A line of the table. */
interface RingLine extends RingTask {
  readonly cpus: string;
  readonly figure: Summary;
}

/** See the module. */
export class RingResults {
  readonly #figures: Map<Placement, RingFigures[]>;

  constructor(placements: readonly Placement[]) {
    this.#figures = new Map(placements.map((placement) => [placement, []]));
  }

  add(placement: Placement, figures: RingFigures): void {
    this.#figures.get(placement)!.push(figures);
  }

  #lines(): RingLine[] {
    return TASKS.flatMap((task) =>
      [...this.#figures].map(([{ name, driver, device }, all]) => ({
        ...task,
        // Nobody can spin for another who needs the same CPU.
        goal: driver === device ? undefined : task.goal,
        cpus: name,
        figure: summarize(all.map((figures) => figures[task.key])),
      }))
    );
  }

  table(): string {
    const cells = ({ title, cpus, figure, goal }: RingLine) => [
      title,
      cpus,
      spread(figure),
      verdict(figure.median, goal),
    ];
    const rows = [["Operation", "CPUs", "µs", "goal"], ...this.#lines().map(cells)];
    return table(rows, (column) => column !== 2);
  }

  judged(): Judged[] {
    return this.#lines().map(({ title, figure, goal }) => ({ name: `${title}, µs`, figure: figure.median, goal }));
  }

  /** For programs. */
  toJson(): unknown {
    return this.#lines().map(({ key, cpus, figure }) => ({ key, cpus, ...figure }));
  }
}
