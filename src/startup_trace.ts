/**
 * Where the time goes until a guest runs: with `SPLITVM_DEBUG=startup`, each thread prints when it had got how far.
 *
 * Times are milliseconds since Deno began to set up the thread, which is after the kernel and ld.so have loaded the
 * process. With `SPLITVM_DEBUG=startup:TIME` all of them count from that time, in milliseconds since 1970-01-01T00:00Z,
 * which whoever starts the process knows.
 *
 * Programs are apart in the executable file, so what they have in common is the runtime's own list of marks.
 *
 * It stands outside the folders because every process and thread has a start.
 *
 * @module
 */

const VARIABLE = "SPLITVM_DEBUG";

/** What marks are called there, so that no others are taken for them. */
const PREFIX = "splitvm: ";

/**
 * The beginning of the count in milliseconds since 1970, if a trace is asked for. Without permission to look, none is.
 */
function traceOrigin(): number | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: VARIABLE }).state !== "granted") return undefined;
  const [what, time] = (Deno.env.get(VARIABLE) ?? "").split(":");
  if (what !== "startup") return undefined;
  const at = Number(time);
  return Number.isFinite(at) ? at : performance.timeOrigin;
}

/** `undefined` when there is no trace. */
const origin = traceOrigin();

/** Whether a trace is asked for. */
export const isTracing = origin !== undefined;

/** The variable for a child, whose start is to be traced from the same time. */
export const TRACE_ENVIRONMENT: Readonly<Record<string, string>> = isTracing ? { [VARIABLE]: `startup:${origin}` } : {};

/** Notes that a phase is over. */
export function markPhase(phase: string): void {
  if (isTracing) performance.mark(PREFIX + phase);
}

/**
 * Prints what this thread has marked, and before it when Deno began to set up the thread.
 *
 * @param thread Whose phases they are.
 * @param log Takes a line for each.
 */
export function printPhases(thread: string, log: (line: string) => void): void {
  if (origin === undefined) return;
  const print = (time: number, phase: string) => log(`startup: ${thread}: ${time.toFixed(2)} ms: ${phase}`);
  print(performance.timeOrigin - origin, "entry");
  for (const { name, startTime } of performance.getEntriesByType("mark")) {
    if (!name.startsWith(PREFIX)) continue;
    print(performance.timeOrigin - origin + startTime, name.slice(PREFIX.length));
    performance.clearMarks(name);
  }
}
