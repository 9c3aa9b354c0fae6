/**
 * Where the running program starts, for threads of it: from source, or as the one executable file that `deno task
 * compile` writes.
 *
 * It stands outside the folders because every process has threads, whatever it imports otherwise.
 *
 * @module
 */

/**
 * The beginning of the URL of each module when splitvm runs as one executable file. A descriptor of its own process
 * follows, and in the query those of all modules, the main one first: `file:///proc/self/fd/220?219,220,221`
 * (`tools/compile/entry.asm`).
 */
export const EXECUTABLE_MODULE_URL = "file:///proc/self/fd/";

/**
 * The URL of the main module, to start workers from: `new Worker(mainModule(), { type: "module", name })`. It tells
 * them by their names what they are to be.
 *
 * @param moduleUrl The URL of this module, or of what it is bundled into.
 */
export function mainModule(moduleUrl: string = import.meta.url): string {
  if (!moduleUrl.startsWith(EXECUTABLE_MODULE_URL)) return new URL("../main.ts", moduleUrl).href;
  return executableModule(moduleUrl, 0);
}

/** Descriptors that Deno takes at most to start a worker. The process does not survive if it does not get them. */
export const WORKER_DESCRIPTORS = 8;

/**
 * The URL of a module of the executable file.
 *
 * @param moduleUrl The URL of any of them.
 * @param index Its place; the main module has 0.
 */
export function executableModule(moduleUrl: string, index: number): string {
  const { search } = new URL(moduleUrl);
  return `${EXECUTABLE_MODULE_URL}${search.slice(1).split(",")[index]}${search}`;
}
