/**
 * Initial RAM file systems of guests: busybox, the steps of a scenario, and what these need.
 *
 * @module
 */
import { basename } from "@std/path";
import { mustRun } from "./command.ts";
import { DISK_MODULES, type GuestRun } from "./guest.ts";
import { buildInitramfs } from "./initramfs.ts";
import { resolveModules } from "./kernel.ts";
import type { LabParts } from "./parts.ts";

/** Builds the archive. */
export async function buildGuestInitramfs(parts: LabParts, run: GuestRun): Promise<Uint8Array<ArrayBuffer>> {
  const { kernel = "generic", modules = DISK_MODULES, programs = [], libraries = [], steps } = run;
  const files = new Map<string, Uint8Array>();
  // The shell sorts them by name.
  Object.values(steps).forEach((script, index) => {
    files.set(`/steps/${String(index + 1).padStart(2, "0")}`, new TextEncoder().encode(`${script}\n`));
  });
  for (const program of programs) {
    files.set(`/sbin/${basename(program)}`, await Deno.readFile(program));
    for (const path of await librariesOf(program, libraries)) files.set(path, await Deno.readFile(path));
  }
  for (const library of libraries) files.set(`${LIBRARY_FOLDER}/${basename(library)}`, await Deno.readFile(library));
  return await buildInitramfs({
    busybox: parts.busybox,
    modules: await resolveModules(parts[kernel], modules),
    init: await Deno.readTextFile(new URL("guest_init.sh", import.meta.url)),
    files,
  });
}

/** Where the dynamic linker looks without being told. */
const LIBRARY_FOLDER = "/lib/x86_64-linux-gnu";

/**
 * The shared libraries that a program needs, the dynamic linker among them, by path.
 *
 * @param given Libraries that the guest has anyway, and what they need themselves too.
 */
async function librariesOf(program: string, given: readonly string[]): Promise<string[]> {
  const listed = (await Promise.all([program, ...given].map((file) => mustRun("ldd", [file])))).join("");
  const names = given.map((path) => basename(path));
  const missing = [...listed.matchAll(/(\S+) => not found/g)].find(([, name]) => !names.includes(name));
  if (missing !== undefined) throw new Error(`${program} needs ${missing[1]}, which this host lacks`);
  return [...listed.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path);
}
