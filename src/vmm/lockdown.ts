/**
 * A virtual machine's process gives up the system calls that it does not need, in all its threads, for good.
 *
 * It does so twice. Threads take longer to start than the guest, and read their modules meanwhile; so before the guest's first instruction
 * everything is given up that starting threads do not need: executing, connecting, writing files, processes other than its own. What is
 * left of opening goes when the last thread has started.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { denyNewPrivilegesHere } from "../ffi/jail/privileges.ts";
import { filterThisProcess } from "../ffi/jail/seccomp.ts";
import { vmmServiceFilter, vmmStartFilter } from "../ffi/jail/vmm_calls.ts";
import { SyscallError } from "../ffi/errno.ts";
import { currentProcessId } from "../ffi/process.ts";
import { SocketGuard } from "../ffi/socket_guard.ts";
import type { BoundPath } from "../ffi/unix_socket.ts";

const VARIABLE = "SPLITVM_DEBUG";

/** A process that has taken the first step, as plain data for the thread that takes the second. */
export interface Lockdown {
  readonly pid: number;
  /** What becomes of a call that nothing in a machine makes. */
  readonly otherwise: "kill" | "log";
}

/**
 * The first step: for the leading thread, when everything is open that the machine will ever need, and child processes have been started.
 *
 * @returns `undefined` on a host whose kernel has no filters, of which it logs a line.
 */
export function lockDownStart(log: (line: string) => void): Lockdown | undefined {
  const pid = currentProcessId();
  try {
    denyNewPrivilegesHere();
    filterThisProcess(vmmStartFilter(pid));
  } catch (error) {
    log(`system calls are not restricted: ${errorChain(error)}`);
    return undefined;
  }
  return { pid, otherwise: isTried() ? "log" : "kill" };
}

/**
 * The second step: for the last thread that has started.
 *
 * @throws {SyscallError} when it cannot be taken; the first one stands.
 */
export function lockDown({ pid, otherwise }: Lockdown): void {
  filterThisProcess(vmmServiceFilter(pid, otherwise));
}

/**
 * What takes the paths of listening sockets away at the end of a process that cannot: to be made before it is locked down.
 *
 * @returns `undefined` where there are none, or the host allows no such process; the paths stay behind then.
 */
export function guardSockets(paths: readonly BoundPath[]): SocketGuard | undefined {
  if (paths.length === 0) return undefined;
  try {
    return new SocketGuard(paths);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return undefined;
  }
}

/** Whether calls that would end the process are to be made, and told of by the kernel's log, for whoever looks for them. */
function isTried(): boolean {
  if (Deno.permissions.querySync({ name: "env", variable: VARIABLE }).state !== "granted") return false;
  return Deno.env.get(VARIABLE) === "seccomp";
}
