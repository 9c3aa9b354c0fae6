/**
 * Carries out `splitvm img`. What a sub-command does not need is not loaded.
 *
 * @module
 */
import { type ImgArguments, parseImgArguments } from "./arguments.ts";
import type { CommandName } from "./command_table.ts";
import { print } from "../print.ts";

/** Each sub-command's module is loaded when it is asked for. */
const RUNNERS: { readonly [N in CommandName]: (args: ImgArguments<N>) => Promise<number> } = {
  create: async (args) => await (await import("./create.ts")).runCreate(args),
  info: async (args) => (await import("./info.ts")).runInfo(args),
  check: async (args) => (await import("./check.ts")).runCheck(args),
  convert: async (args) => await (await import("./convert.ts")).runConvert(args),
  resize: async (args) => (await import("./resize.ts")).runResize(args),
};

/**
 * Carries out what follows `splitvm img`.
 *
 * @returns The exit status.
 * @throws {Error} when it cannot be carried out.
 */
export async function runImg(argv: readonly string[]): Promise<number> {
  const request = parseImgArguments(argv);
  if (request.kind === "format help") {
    const [{ formatHelp }, { FORMAT_OPTIONS }] = [await import("./help.ts"), await import("./format_options.ts")];
    print(formatHelp(request.format, FORMAT_OPTIONS[request.format]));
    return 0;
  }
  if (request.kind === "help") {
    const { imgHelp } = await import("./help.ts");
    print(imgHelp(request.command), argv.length === 0 ? Deno.stderr : Deno.stdout);
    return argv.length === 0 ? 1 : 0;
  }
  return await (RUNNERS[request.name] as (args: ImgArguments<CommandName>) => Promise<number>)(request.args);
}
