/**
 * Run states, and why a machine is reset or ended, in QEMU's words (qapi/run-state.json).
 *
 * @module
 */

/** Whether a machine runs, and if not, why. By number in shared memory. */
export const RUN_STATES = ["running", "prelaunch", "paused", "io-error", "shutdown"] as const;

/** See {@linkcode RUN_STATES}. */
export type RunStateName = typeof RUN_STATES[number];

/** States in which a machine stands still and can be resumed. */
export type StoppedState = Exclude<RunStateName, "running" | "shutdown">;

/** Why a machine is reset or ended. By number in shared memory. */
export const CAUSES = [
  "none",
  "guest-reset",
  "guest-shutdown",
  "host-qmp-quit",
  "host-qmp-system-reset",
  "host-signal",
  "host-error",
] as const;

/** See {@linkcode CAUSES}. */
export type Cause = Exclude<typeof CAUSES[number], "none">;

/** Whether the guest asked for it itself. */
export function isGuestCause(cause: Cause): boolean {
  return cause.startsWith("guest-");
}
