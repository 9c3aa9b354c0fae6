/**
 * A program that logs as many lines as it is told, and then tells on standard output that it is still there.
 *
 * @module
 */
import { log } from "../src/log.ts";

for (let i = 0; i < Number(Deno.args[0]); i++) log(`line ${i}`);
Deno.stdout.writeSync(new TextEncoder().encode("still there\n"));
