import { assertEquals } from "@std/assert";
import { closeFd, writeFd } from "../../src/ffi/file.ts";
import { type ChildProcess, childProcess, Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { endSpawner } from "../../src/vmm/spawner_client.ts";
import { leakingNothing } from "../support/leaks.ts";

/** A spawner that never looks at what it is asked. */
function idleSpawner(): { readonly fd: number; readonly process: ChildProcess } {
  const [fd, theirs] = createSocketPair();
  const process = spawn({
    command: ["sleep", "1000"],
    env: { PATH: "/usr/bin:/bin" },
    descriptors: new Map([[3, theirs]]),
  });
  closeFd(theirs);
  return { fd, process };
}

Deno.test(
  "a spawner that hangs with a request unread is ended, and nothing is thrown",
  leakingNothing(() => {
    const spawner = idleSpawner();
    writeFd(spawner.fd, Uint8Array.of(0, 0));
    endSpawner(spawner);
  }),
);

Deno.test(
  "a spawner that has died, and was reaped by another thread, is no trouble at the end",
  leakingNothing(() => {
    const spawner = idleSpawner();
    writeFd(spawner.fd, Uint8Array.of(0, 0));
    spawner.process.kill(Signal.KILL);
    assertEquals(spawner.process.wait(), { signal: Signal.KILL });
    endSpawner({ ...spawner, process: childElsewhere(spawner.process) });
  }),
);

/** What another thread knows of a child. */
function childElsewhere({ pid, pidfd }: ChildProcess): ChildProcess {
  return childProcess(pid, pidfd);
}
