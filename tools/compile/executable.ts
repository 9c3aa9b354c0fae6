/**
 * The executable as a whole: deno, the program, and how the one is to run the other.
 *
 * @module
 */
import { dirname } from "@std/path";
import { SELF_ENVIRONMENT } from "../../src/vmm/self_command.ts";
import { addSegment, ElfError, type ElfProgram, findSymbolSlot, placeSegment, readElf } from "./elf.ts";
import { buildPayload } from "./payload.ts";

/**
 * A path that nothing has and nobody can create. Deno's cache folder is there, so that its cache stays in memory; and
 * there it seeks the user's `.npmrc`, which it reads (and fails on) even where npm is off.
 */
const NOWHERE = "/proc/self/nowhere";

/**
 * deno's command line up to the permissions: it takes nothing but the program, and asks nobody.
 *
 * V8 compiles best what has been called often, and only there a system call costs next to nothing. By default that
 * takes 3000 calls, more than most functions of a web page live to see; a device process makes the same few calls for
 * each command, and gets there five times earlier.
 */
const RUN_ARGUMENTS = [
  ...["deno", "run", "--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-remote", "--no-npm", "--cached-only"],
  ...["--no-code-cache", "--ext=js", "--v8-flags=--invocation-count-for-turbofan=500"],
];

/** Variables that the executable sets, for what deno has no flags for. */
const VARIABLES = {
  ...SELF_ENVIRONMENT,
  HOME: NOWHERE,
  DENO_DIR: NOWHERE,
  // On a terminal, deno would complain about its cache folder.
  DENO_LOG: "error,deno::cache=off",
  DENO_NO_PACKAGE_JSON: "1",
};

/**
 * Beginnings of the variables by which the caller's environment would configure deno, or contradict {@linkcode
 * VARIABLES}.
 */
const DROPPED_VARIABLES = ["HOME=", "DENO_", "NODE_", "NPM_CONFIG_", "npm_config_", "OTEL_", "RUST_"];

/** What an executable is made from. */
export interface ExecutableOptions {
  /** Path of the `deno` executable to start from. */
  readonly deno: string;
  /** The program: JavaScript modules in UTF-8, the main one first (see `EXECUTABLE_MODULE_URL`). */
  readonly modules: readonly Uint8Array[];
  /** The program's permissions, as flags of `deno run`. */
  readonly permissions: readonly string[];
}

async function readDeno(path: string): Promise<ElfProgram> {
  try {
    return readElf(await Deno.readFile(path));
  } catch (cause) {
    throw new Error(`Cannot use ${path} as the deno executable`, { cause });
  }
}

/**
 * The bytes of an executable that runs a program. The same input gives the same bytes.
 *
 * @throws {Error} if the `deno` executable cannot be read or is not one that this can extend.
 */
export async function buildExecutable(options: ExecutableOptions): Promise<Uint8Array<ArrayBuffer>> {
  const deno = await readDeno(options.deno);
  try {
    const payload = buildPayload({
      address: placeSegment(deno).address,
      entry: deno.entry,
      environSlot: findSymbolSlot(deno, "environ"),
      arguments: [...RUN_ARGUMENTS, ...options.permissions],
      variables: VARIABLES,
      dropped: DROPPED_VARIABLES,
      modules: options.modules,
    });
    return addSegment(deno, ".splitvm", payload);
  } catch (cause) {
    if (cause instanceof ElfError) throw new Error(`Cannot extend ${options.deno}`, { cause });
    throw cause;
  }
}

/**
 * Writes an executable file, and the folder for it. Whoever looks at the path sees the old file or the new one, whole.
 *
 * @throws {Error} if it cannot be written; the old file is still there then.
 */
export async function writeExecutable(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${Deno.pid}`;
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeFile(temporary, bytes);
    await Deno.chmod(temporary, 0o755);
    await Deno.rename(temporary, path);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {});
    throw new Error(`Cannot write ${path}`, { cause });
  }
}
