/**
 * Runs a shell command in the lab, and ends with its exit status: `deno task lab COMMAND`.
 *
 * @module
 */
import { join } from "@std/path";
import { prepareLab, runFolder, runInLab } from "./lab.ts";

const TIMEOUT = 300;

if (import.meta.main) {
  const folder = await runFolder("command");
  const status = await runInLab(await prepareLab(), { script: Deno.args.join(" "), folder, timeout: TIMEOUT });
  console.log((await Deno.readTextFile(join(folder, "lab.log"))).trimEnd());
  Deno.exit(status);
}
