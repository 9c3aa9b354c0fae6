/**
 * The progress bar on standard error.
 *
 * @module
 */
import { Progress } from "./progress.ts";

/** How a bar is started. */
export interface ProgressLineOptions {
  /** Bytes that there are to do. */
  readonly total: number;
  /** Whether it was asked for: it is drawn at once then, and where standard error is no terminal. @default {false} */
  readonly asked?: boolean;
  /** Whether nothing is to be printed. @default {false} */
  readonly quiet?: boolean;
}

/** Columns of the terminal; 80 where there is none. */
function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** Starts a bar. It draws nothing where standard error is no terminal and nobody asked. */
export function startProgress({ total, asked = false, quiet = false }: ProgressLineOptions): Progress {
  const shown = !quiet && (asked || Deno.stderr.isTerminal());
  const encoder = new TextEncoder();
  return new Progress({
    total,
    now: () => performance.now(),
    write: (text) => void (shown && Deno.stderr.writeSync(encoder.encode(text))),
    columns: columns(),
    patience: asked ? 0 : undefined,
  });
}
