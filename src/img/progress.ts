/**
 * The progress bar: one line of a terminal, drawn again and again.
 *
 * @module
 */
import { humanSize } from "./human_size.ts";

/** Where a progress bar is drawn, and when. */
export interface ProgressOptions {
  /** Bytes, or whatever else is counted, that there are to do. */
  readonly total: number;
  /** Takes text for the terminal. */
  readonly write: (text: string) => void;
  /** Milliseconds since any moment. */
  readonly now: () => number;
  /** Characters in a line of the terminal. @default {80} */
  readonly columns?: number;
  /** For how many milliseconds work is too short for a bar. @default {500} */
  readonly patience?: number;
}

/** Milliseconds between two drawings. */
const INTERVAL = 100;

/** Widest bar, and the narrowest that is drawn. */
const WIDEST = 30;
const NARROWEST = 8;

/** A time in whole seconds: `0:07`, `1:02:03`. */
export function humanTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const pad = (part: number) => String(part).padStart(2, "0");
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/**
 * Shows how far work has come: `[=====>    ]  52.10%  310 MiB/s  ETA 0:04`.
 *
 * Only carriage return and spaces move and clear, which every terminal and log file takes. Nothing is drawn before work has taken a
 * while, and no more often than ten times a second.
 */
export class Progress {
  readonly #options: Required<ProgressOptions>;
  readonly #start: number;
  #lastDrawn = -Infinity;
  /** Length of the line that is on the terminal. */
  #shown = 0;
  #ended = false;

  constructor({ columns = 80, patience = 500, ...options }: ProgressOptions) {
    this.#options = { columns, patience, ...options };
    this.#start = options.now();
  }

  /** Says how much is done. */
  update(done: number): void {
    const now = this.#options.now();
    if (this.#ended || now - this.#start < this.#options.patience || now - this.#lastDrawn < INTERVAL) return;
    this.#lastDrawn = now;
    this.#draw(done, (now - this.#start) / 1000);
  }

  /** The work is complete: a bar that was drawn says so, and the line is ended. */
  finish(): void {
    if (this.#ended) return;
    const seconds = (this.#options.now() - this.#start) / 1000;
    if (this.#shown > 0 || this.#options.patience === 0) this.#draw(this.#options.total, seconds, true);
    this.#end();
  }

  /** The work ends before it is complete: what is printed next has a line of its own. Does nothing after {@linkcode finish}. */
  abandon(): void {
    if (!this.#ended) this.#end();
  }

  #end(): void {
    this.#ended = true;
    if (this.#shown > 0) this.#options.write("\n");
  }

  #draw(done: number, seconds: number, complete = false): void {
    const line = this.#line(done, seconds, complete);
    this.#options.write(`\r${line.padEnd(this.#shown)}`);
    this.#shown = line.length;
  }

  #line(done: number, seconds: number, complete: boolean): string {
    const { total, columns } = this.#options;
    const fraction = total === 0 ? 1 : Math.min(1, Math.max(0, done / total));
    const rate = seconds > 0 ? done / seconds : 0;
    const time = complete
      ? `in ${humanTime(seconds)}`
      : fraction > 0
      ? `ETA ${humanTime(seconds * (1 - fraction) / fraction)}`
      : "";
    const percent = `${(fraction * 100).toFixed(2).padStart(6)}%`;
    const words = [percent, `${humanSize(rate)}/s`, time].filter((word) => word !== "").join("  ");
    // The last column stays free: some terminals go on to the next line when it is written.
    const room = Math.min(WIDEST, columns - 1 - words.length - 4);
    const text = room < NARROWEST ? words : `${bar(fraction, room)}  ${words}`;
    return text.slice(0, Math.max(0, columns - 1));
  }
}

function bar(fraction: number, width: number): string {
  const filled = Math.floor(fraction * width);
  const head = filled < width ? ">" : "";
  return `[${("=".repeat(filled) + head).padEnd(width)}]`;
}
