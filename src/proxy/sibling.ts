/**
 * Programs that are started as children of this process's own parent.
 *
 * @module
 */
import { call, unblockSignals } from "../ffi/jail/child_script.ts";
import { dieWithParent } from "../ffi/jail/privileges.ts";
import type { ChildProcess, SpawnOptions } from "../ffi/process.ts";
import { cString } from "../ffi/syscall.ts";
import { closeAll } from "../ffi/socket.ts";
import { placeDescriptors, type SiblingOptions, spareDescriptors, startProgram } from "./jail.ts";

/** What a sibling is started with: a path to execute, and a process group of its own. */
export type SiblingSpawn = Required<Pick<SpawnOptions, "command" | "env" | "descriptors">>;

/**
 * Starts a program, not jailed, as a child of this process's parent. It is killed when that ends.
 *
 * @throws {SyscallError} when it cannot be started.
 */
export function spawnSibling({ command, env, descriptors }: SiblingSpawn, sibling: SiblingOptions): ChildProcess {
  const spares = spareDescriptors(descriptors);
  const [program] = command;
  const variables = Object.entries(env).map(([name, value]) => cString(`${name}=${value}`));
  try {
    const script = [
      dieWithParent(),
      call("setpgid", [0, 0]),
      ...placeDescriptors(spares),
      unblockSignals(),
      call("execve", [cString(program), command.map(cString), variables], { of: program }),
    ];
    return startProgram(script, { sibling });
  } finally {
    closeAll([...spares.values()]);
  }
}
