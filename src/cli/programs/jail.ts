/**
 * The program that starts a device process in a jail, for a VMM that did not start it.
 *
 * @module
 */
import { print } from "../../print.ts";
import { JAIL_USAGE, parseJailCommand } from "../jail_command.ts";
import { runJailed } from "../jailed_process.ts";
import { run as runCommand } from "../run.ts";

/** Carries out a command line whose first word is `jail`. */
export function run(argv: readonly string[]): Promise<number> {
  return runCommand("splitvm jail", async () => {
    const request = parseJailCommand(argv.slice(1));
    if (request.kind === "jail") return await runJailed(request);
    print(JAIL_USAGE, request.kind === "usage" ? Deno.stderr : Deno.stdout);
    return request.kind === "usage" ? 1 : 0;
  });
}
