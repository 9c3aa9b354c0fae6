/**
 * How errors reach the user: once, on one line, with the chain of causes.
 *
 * @module
 */

/** Longest chain that is followed; a chain of causes can lead back into itself. */
const LONGEST_CHAIN = 16;

function message(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  return error.name;
}

/** Whether the error tells of a mistake in the program rather than of the command line, an image or the host. */
function isDefect(error: unknown): boolean {
  return error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
}

/**
 * An error and its causes in one line: `cannot open disk.img: openat: ENOENT`. A cause whose message the error repeats is
 * left out, and line breaks become spaces.
 */
export function errorChain(error: unknown): string {
  const parts: string[] = [];
  let next: unknown = error;
  for (let length = 0; length < LONGEST_CHAIN && (length === 0 || next !== undefined); length++) {
    const text = message(next).replace(/\s*[\r\n]+\s*/g, " ").trim();
    if (!parts.at(-1)?.includes(text)) parts.push(text);
    next = next instanceof Error ? next.cause : undefined;
  }
  return parts.join(": ");
}

/** Whether SPLITVM_DEBUG=1 asks for stack traces. Without permission to look, it does not. */
function wantsStack(): boolean {
  const variable = "SPLITVM_DEBUG";
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return false;
  return Deno.env.get(variable) === "1";
}

/** Prints an error for the user. */
export function reportError(error: unknown): void {
  const internal = isDefect(error) ? "internal error: " : "";
  console.error(`splitvm: ${internal}${errorChain(error)}`);
  if (wantsStack() && error instanceof Error) console.error(error.stack);
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
