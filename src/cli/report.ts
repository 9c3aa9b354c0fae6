/**
 * How errors reach the user: once, on one line of standard error.
 *
 * @module
 */
import { describeError, ReportedError } from "../error_chain.ts";
import { logLine } from "../log.ts";

/** Whether SPLITVM_DEBUG=1 asks for stack traces. Without permission to look, it does not. */
function wantsStack(): boolean {
  const variable = "SPLITVM_DEBUG";
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return false;
  return Deno.env.get(variable) === "1";
}

/**
 * Prints an error for the user, unless the user has been told already.
 *
 * @param program What the line begins with.
 */
export function reportError(error: unknown, program = "splitvm"): void {
  if (error instanceof ReportedError) return;
  logLine(`${program}: ${describeError(error)}`);
  if (wantsStack() && error instanceof Error) logLine(error.stack ?? "");
}

/** Ends the process, as any other error does, for one that nobody was there to catch. */
export function reportUncaught(): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    reportError(event.reason);
    Deno.exit(1);
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    reportError(event.error ?? event.message);
    Deno.exit(1);
  });
}
