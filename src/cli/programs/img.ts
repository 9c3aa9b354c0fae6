/**
 * The program that works on disk images.
 *
 * @module
 */
import { runImg } from "../../img/run.ts";
import { run as runCommand } from "../run.ts";

/** Carries out a command line whose first word is `img`. */
export function run(argv: readonly string[]): Promise<number> {
  return runCommand("splitvm img", () => runImg(argv.slice(1)));
}
