/**
 * Runs a device process and a VMM with a link between them, in the lab:
 *
 *     deno run -A tests/lab/pair.ts DEVICE-PROCESS... -- VMM...
 *
 * Both have their end of the link as descriptor 3. The VMM has standard input and output, and its exit status is this program's.
 *
 * @module
 */
import { closeFd } from "../../src/ffi/file.ts";
import { type ExitStatus, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";

const LINK_FD = 3;

function exitCode(status: ExitStatus): number {
  return "code" in status ? status.code : 128 + status.signal;
}

/** @returns the VMM's exit status, or the device process's where only that one failed. */
function runPair(device: readonly string[], vmm: readonly string[]): number {
  const [near, far] = createSocketPair();
  const env = Deno.env.toObject();
  const remote = spawn({ command: device, env, descriptors: new Map([[0, null], [LINK_FD, far]]) });
  const machine = spawn({ command: vmm, env, descriptors: new Map([[LINK_FD, near]]) });
  [near, far].forEach(closeFd);
  const status = exitCode(machine.wait());
  return status || exitCode(remote.wait());
}

if (import.meta.main) {
  const border = Deno.args.indexOf("--");
  Deno.exit(runPair(Deno.args.slice(0, border), Deno.args.slice(border + 1)));
}
