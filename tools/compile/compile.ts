/**
 * Writes splitvm as one executable file, `dist/splitvm`: what `deno task compile` runs.
 *
 * `deno compile` would download a runtime to put the program into; where only npm is reachable it cannot. This takes
 * the `deno` that runs it, which is such a runtime, and adds the bundled programs with code that starts it
 * (`entry.asm`).
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { fromFileUrl, relative, resolve } from "@std/path";
import { errorChain } from "../../src/error_chain.ts";
import { bundle } from "./bundle.ts";
import { buildExecutable, writeExecutable } from "./executable.ts";
import { permissionFlags, readPermissionSet } from "./permissions.ts";
import { functionBody } from "./function_body.ts";
import { PROGRAM_MODULES } from "./programs.ts";

/**
 * Where the executable goes: `--output=FILE`, relative to the working directory. @throws {Error} for any other
 * argument.
 */
function outputPath(args: readonly string[]): string {
  const unknown = (argument: string) => {
    throw new Error(`unknown argument ${JSON.stringify(argument)}; expected --output=<file>`);
  };
  const { output } = parseArgs(args, { string: ["output"], unknown });
  return output ? resolve(output) : fromFileUrl(new URL("../../dist/splitvm", import.meta.url));
}

async function compile(output: string): Promise<void> {
  // The bundle names files relative to the working directory.
  Deno.chdir(fromFileUrl(new URL("../..", import.meta.url)));
  const main = await bundle("tools/compile/executable_main.ts");
  const programs = await Promise.all(
    Object.entries(PROGRAM_MODULES).map(async ([name, path]) => functionBody(await bundle(path), `splitvm-${name}.js`)),
  );
  const bytes = await buildExecutable({
    deno: Deno.execPath(),
    modules: [main, ...programs].map((text) => new TextEncoder().encode(text)),
    permissions: permissionFlags(await readPermissionSet("deno.json", "splitvm")),
  });
  await writeExecutable(output, bytes);
  console.log(`${relative(Deno.cwd(), output)}: ${(bytes.length / 1e6).toFixed(1)} MB`);
}

if (import.meta.main) {
  try {
    await compile(outputPath(Deno.args));
  } catch (error) {
    console.error(`compile: ${errorChain(error)}`);
    Deno.exit(1);
  }
}
