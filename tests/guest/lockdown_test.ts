/** The process of a machine that runs has given up most system calls, as the host's kernel tells of it (proc(5)). */
import { assertEquals } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { readProc, signalProcess, threadsOf } from "../support/process_tree.ts";
import { QmpClient } from "../support/qmp_client.ts";
import type { Stage } from "../support/stage.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import { startGuest, testOnKvm } from "./guests.ts";

/** Of each thread of a process, how many filters it has. */
function filtersOf(pid: number): number[] {
  return threadsOf(pid).map((thread) =>
    Number(/^Seccomp_filters:\s*(\d+)/m.exec(readProc(`/proc/${pid}/task/${thread}/status`))?.[1])
  );
}

/** Whether there is something at a path. */
function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

const allWith = (stage: Stage, pid: number, filters: number) =>
  stage.runUntil(() => filtersOf(pid).every((count) => count === filters), `threads with ${filters} filters each`);

for (const cpus of ["1", "3"]) {
  testOnKvm(`all threads of a machine with ${cpus} vCPUs have both filters`, (stage) => {
    const vmm = startGuest(stage, idle, { options: ["-smp", cpus] });
    vmm.waitFor("waiting\r\n");
    allWith(stage, vmm.pid, 2);
    vmm.send("x");
    vmm.waitFor("ready\r\n");
  });
}

testOnKvm("a machine that has been told to has no filter", (stage) => {
  const vmm = startGuest(stage, idle, { options: ["-sandbox", "off"] });
  vmm.send("x");
  vmm.waitFor("ready\r\n");
  assertEquals(new Set(filtersOf(vmm.pid)), new Set([0]));
});

testOnKvm("a machine runs where calls that nothing makes are told of instead of fatal", (stage) => {
  const vmm = startGuest(stage, idle, { by: ["env", "SPLITVM_DEBUG=seccomp"] });
  vmm.waitFor("waiting\r\n");
  allWith(stage, vmm.pid, 2);
  vmm.send("x");
  vmm.waitFor("ready\r\n");
});

testOnKvm("a machine that is killed leaves no path of a socket behind", (stage) => {
  const paths = ["qmp", "com2"].map((name) => `${stage.directory}/${name}`);
  const [qmp, com2] = paths.map((path) => `unix:${path},server=on,wait=off`);
  const vmm = startGuest(stage, idle, { serial: ["-serial", "stdio", "-serial", com2], options: ["-qmp", qmp] });
  vmm.waitFor("waiting\r\n");
  allWith(stage, vmm.pid, 2);
  new QmpClient(paths[0]).close();
  assertEquals(paths.map(exists), [true, true]);
  signalProcess(vmm.pid, Signal.KILL);
  assertEquals(vmm.wait(), { signal: Signal.KILL });
  stage.runUntil(() => !paths.some(exists), "paths that are gone");
});
