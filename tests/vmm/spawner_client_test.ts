import { assertEquals, assertRejects } from "@std/assert";
import { closeFd, writeFd } from "../../src/ffi/file.ts";
import { type ChildProcess, childProcess, Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair, shutdownSocket } from "../../src/ffi/socket.ts";
import { DEVICE_CUSTODY_SIZE, DeviceCustody } from "../../src/vmm/device_custody.ts";
import { endSpawner, SpawnerClient } from "../../src/vmm/spawner_client.ts";
import { leakingNothing, leakingNothingAwaited } from "../support/leaks.ts";

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

for (
  const { what, ends, told } of [
    { what: "is told of once", ends: false, told: 1 },
    { what: "is no news when the machine ends it", ends: true, told: 0 },
  ]
) {
  Deno.test(
    `a spawner that has gone when it is asked for a process ${what}`,
    leakingNothingAwaited(async () => {
      const { fd, process } = idleSpawner();
      const custody = new DeviceCustody(new SharedArrayBuffer(DEVICE_CUSTODY_SIZE));
      const log: string[] = [];
      const client = new SpawnerClient({
        spawner: { fd, pid: process.pid, pidfd: process.pidfd },
        watcher: { watch: () => ({ cancel() {}, modify() {} }) },
        custody,
        log: (line) => log.push(line),
      });
      if (ends) custody.end();
      process.kill(Signal.KILL);
      shutdownSocket(fd);
      for (let i = 0; i < 2; i++) {
        await assertRejects(() => client.start(0, 1000, () => {}), Error, "what starts device processes has ended");
      }
      assertEquals(log.length, told);
      endSpawner({ fd, process });
    }),
  );
}

/** What another thread knows of a child. */
function childElsewhere({ pid, pidfd }: ChildProcess): ChildProcess {
  return childProcess(pid, pidfd);
}
