/**
 * Writes splitvm as one executable file, `dist/splitvm`: what `deno task compile` runs.
 *
 * `deno compile` would download a runtime to put the program into; where only npm is reachable it cannot. This takes the
 * `deno` that runs it, which is such a runtime, and adds the bundled program with code that starts it (`entry.asm`).
 *
 * @module
 */
import { fromFileUrl } from "@std/path";
import { bundle } from "./bundle.ts";
import { buildExecutable, writeExecutable } from "./executable.ts";
import { permissionFlags, readPermissionSet } from "./permissions.ts";
import { quoteModule } from "./quoted_module.ts";

const OUTPUT = "dist/splitvm";

async function compile(): Promise<void> {
  // The bundle names files relative to the working directory.
  Deno.chdir(fromFileUrl(new URL("../..", import.meta.url)));
  const bytes = await buildExecutable({
    deno: Deno.execPath(),
    program: new TextEncoder().encode(quoteModule(await bundle("main.ts"))),
    permissions: permissionFlags(await readPermissionSet("deno.json", "splitvm")),
  });
  await writeExecutable(OUTPUT, bytes);
  console.log(`${OUTPUT}: ${(bytes.length / 1e6).toFixed(1)} MB`);
}

/** An error and its causes in one line. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}

if (import.meta.main) {
  try {
    await compile();
  } catch (error) {
    console.error(`compile: ${describe(error)}`);
    Deno.exit(1);
  }
}
