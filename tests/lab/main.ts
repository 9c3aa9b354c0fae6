/**
 * `deno task lab COMMAND` runs a shell command in the lab, and ends with its exit status. Several words are a program and its
 * arguments. Without a command it opens a shell.
 *
 * @module
 */
import { join } from "@std/path";
import { Lab, runFolder, runShell } from "./lab.ts";
import { prepareParts } from "./parts.ts";
import { TextFeed } from "./text_feed.ts";

/** A command may take an hour. */
const TIMEOUT = 3600;

async function runCommand(command: string): Promise<number> {
  const folder = await runFolder("command");
  const log = join(folder, "lab.log");
  await Deno.writeFile(log, new Uint8Array());
  const lab = new Lab(await prepareParts(), { name: "command" });
  try {
    const running = lab.run({ name: "command", script: command, timeout: TIMEOUT });
    const output = new TextFeed((text) => Deno.stdout.writeSync(new TextEncoder().encode(text)));
    await output.follow(log, running);
    return await running;
  } finally {
    await lab.stop();
  }
}

/** What the shell is to run. */
function commandOf(words: readonly string[]): string {
  if (words.length === 1) return words[0];
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
}

if (import.meta.main) {
  const words = Deno.args[0] === "--" ? Deno.args.slice(1) : Deno.args;
  Deno.exit(words.length === 0 ? await runShell(await prepareParts()) : await runCommand(commandOf(words)));
}
