/**
 * How work ends that a signal interrupts.
 *
 * It stands outside the folders because every program has some: what is taken away at the end is then taken away, too.
 *
 * @module
 */

/** The work was ended by a signal. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** @param status The exit status that tells a shell so: 128 and the signal's number. */
  constructor(readonly status: number) {
    super("interrupted");
  }
}

/** Signals by which people and systems end programs; their numbers are in asm-generic/signal.h. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/**
 * From here on, signals do not end the process; the caller is told of each, in a turn of Deno's event loop.
 *
 * @returns what has them end the process again.
 */
export function catchSignals(interrupt: (error: Interrupted) => void): () => void {
  const listeners = Object.entries(SIGNALS).map(([name, number]) => {
    const listener = () => interrupt(new Interrupted(128 + number));
    Deno.addSignalListener(name as Deno.Signal, listener);
    return () => Deno.removeSignalListener(name as Deno.Signal, listener);
  });
  return () => listeners.forEach((remove) => remove());
}
