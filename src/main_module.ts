/**
 * Where the running program starts, for threads of it: from source, or as the one executable file that `deno task compile` writes.
 *
 * It stands outside the folders because every process has threads, whatever it imports otherwise.
 *
 * @module
 */

/**
 * The beginning of the program's URL when it runs as one executable file: a descriptor of its own process
 * (`tools/compile/entry.asm`).
 */
export const EXECUTABLE_MODULE_URL = "file:///proc/self/fd/";

/**
 * The URL of the main module, to start workers from: `new Worker(mainModule(), { type: "module", name })`. It tells them by their names
 * what they are to be.
 *
 * @param moduleUrl The URL of this module.
 */
export function mainModule(moduleUrl: string = import.meta.url): string {
  return moduleUrl.startsWith(EXECUTABLE_MODULE_URL) ? moduleUrl : new URL("../main.ts", moduleUrl).href;
}
