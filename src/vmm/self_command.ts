/**
 * How a running splitvm starts another one, from source by way of `deno`, or as the one executable file that
 * `deno task compile` writes.
 *
 * @module
 */

import { EXECUTABLE_MODULE_URL } from "../main_module.ts";

export { mainModule as selfModule } from "../main_module.ts";

/** What `readlink` appends to the path of an executable that has been removed or replaced (Linux, d_path). */
const REMOVED = " (deleted)";

/** Variables to set for whatever is started: without them Deno looks for updates and writes to its cache folder. */
export const SELF_ENVIRONMENT: Readonly<Record<string, string>> = {
  DENO_DISABLE_NODE_SHIM: "1",
  DENO_NO_UPDATE_CHECK: "1",
};

/**
 * The beginning of a command line that starts another splitvm: a path to execute, then its first arguments. The other's
 * own arguments follow. Its permissions are the set `splitvm` of `deno.json`, either way.
 *
 * The executable file is named by its path; one that was removed or replaced meanwhile by `/proc/self/exe`, so that both
 * processes are of the same version.
 *
 * @param moduleUrl The URL of this module.
 * @param executable Path of the running executable.
 */
export function selfCommand(moduleUrl: string = import.meta.url, executable: string = Deno.execPath()): string[] {
  if (moduleUrl.startsWith(EXECUTABLE_MODULE_URL)) {
    return [executable.endsWith(REMOVED) ? "/proc/self/exe" : executable];
  }
  const path = (name: string) => decodeURIComponent(new URL(`../../${name}`, moduleUrl).pathname);
  return [
    ...[executable, "run", "--quiet", "--no-prompt", "--no-code-cache"],
    ...[`--config=${path("deno.json")}`, "--permission-set=splitvm", path("main.ts")],
  ];
}

/**
 * What another splitvm reads when it starts, besides its executable, and how it is told where that is: from source, the modules and
 * Deno's cache of them.
 *
 * @param variable Looks up a variable of this process's environment.
 */
export function selfFiles(moduleUrl: string = import.meta.url, variable: LookUp = (name) => Deno.env.get(name)): {
  readonly readable: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} {
  if (moduleUrl.startsWith(EXECUTABLE_MODULE_URL)) return { readable: [], env: {} };
  const repository = decodeURIComponent(new URL("../..", moduleUrl).pathname).replace(/\/$/, "");
  const cache = cacheFolder(variable);
  // In a jail there is no /etc/passwd that would say where home is, and Deno does not start without a place for its cache.
  if (cache === undefined) return { readable: [repository], env: { DENO_DIR: "/nowhere" } };
  return { readable: [repository, cache], env: { DENO_DIR: cache } };
}

type LookUp = (name: string) => string | undefined;

/** As Deno finds it; `undefined` where no variable says so, upon which modules are compiled again. */
function cacheFolder(variable: LookUp): string | undefined {
  const [DENO_DIR, XDG_CACHE_HOME, HOME] = ["DENO_DIR", "XDG_CACHE_HOME", "HOME"].map(variable);
  if (DENO_DIR) return DENO_DIR;
  if (XDG_CACHE_HOME) return `${XDG_CACHE_HOME}/deno`;
  return HOME ? `${HOME}/.cache/deno` : undefined;
}
