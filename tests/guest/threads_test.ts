/** Threads of a machine that cannot start: the machine ends, says why, and leaves the terminal as it was. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { listensAtPort } from "../support/process_tree.ts";
import { pause } from "../support/qmp_client.ts";
import type { Program, Stage } from "../support/stage.ts";
import { LocalMode, Terminal } from "../support/terminal.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import { guestCommand, localDisk, startGuest, testOnKvm } from "./guests.ts";
import { buildPvhGuest } from "../../guests/pvh_guest.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Where a thread's start is made to fail: before any code of the project runs, or after its main module. */
const MAIN_MODULE = "main.ts";
const PROGRAM = "src/vmm/worker.ts";

const FAIL = 'throw new Error("broken")';

/**
 * A copy of splitvm in which all threads of a name fail, or do something else, when they load a module.
 *
 * @returns the command that starts it.
 */
function breakThread(stage: Stage, name: string, module: string, statement = FAIL): string[] {
  const copy = `${stage.directory}/copy`;
  Deno.mkdirSync(copy);
  const args = ["-r", "-t", copy, ...["main.ts", "deno.json", "deno.lock", "src"].map((path) => ROOT + path)];
  assert(new Deno.Command("cp", { args }).outputSync().success);
  const text = Deno.readTextFileSync(`${copy}/${module}`);
  Deno.writeTextFileSync(`${copy}/${module}`, `if (globalThis.name === "${name}") ${statement};\n${text}`);
  return selfCommand(`file://${copy}/src/vmm/self_command.ts`);
}

function startBroken(stage: Stage, command: readonly string[], options: readonly string[], by: string[] = []): Program {
  const kernel = `${stage.directory}/guest.elf`;
  Deno.writeFileSync(kernel, buildPvhGuest(idle));
  const rest = guestCommand(kernel, options).slice(selfCommand().length);
  return stage.start({ name: "VMM", command: [...by, ...command, ...rest] });
}

for (
  const { thread, name, module, options = [] } of [
    { thread: "the control thread", name: "control", module: PROGRAM },
    { thread: "the control thread", name: "control", module: PROGRAM, options: ["-smp", "2", "-S"] },
    { thread: "the control thread", name: "control", module: MAIN_MODULE },
    { thread: "the thread of vCPU 1", name: "vcpu", module: PROGRAM, options: ["-smp", "2"] },
    { thread: "the thread of vCPU 1", name: "vcpu", module: MAIN_MODULE, options: ["-smp", "2", "-S"] },
  ]
) {
  testOnKvm(`a machine ends when ${thread} fails in ${module}, with [${options.join(" ")}]`, (stage) => {
    const vmm = startBroken(stage, breakThread(stage, name, module), options);
    assertEquals(vmm.wait(), { code: 1 });
    const lines = vmm.errors.match(/^splitvm: .*\n/gm);
    assertEquals(lines?.length, 1, vmm.errors);
    assertMatch(lines![0], new RegExp(`^splitvm: Cannot run ${thread}: .*broken`));
    // Deno tells by itself what it finds wrong with a main module.
    if (module === PROGRAM) assertEquals(vmm.errors, lines![0]);
  });
}

testOnKvm("a machine with a device process ends when a thread fails, and takes the process along", (stage) => {
  const vmm = startBroken(stage, breakThread(stage, "vcpu", PROGRAM), ["-smp", "2", ...localDisk(stage)]);
  assertEquals(vmm.wait(), { code: 1 });
  assertEquals(vmm.errors, "splitvm: Cannot run the thread of vCPU 1: broken\n");
});

testOnKvm("a terminal is as before when a thread fails", (stage) => {
  const terminal = new Terminal();
  try {
    const modes = terminal.localModes & (LocalMode.ICANON | LocalMode.ECHO | LocalMode.ISIG);
    const by = ["sh", "-c", 'exec setsid --ctty "$@" <"$0" >"$0"', terminal.path];
    const vmm = startBroken(stage, breakThread(stage, "vcpu", PROGRAM), ["-smp", "2"], by);
    assertEquals(vmm.wait(), { code: 1 });
    terminal.waitForModes(modes, modes);
  } finally {
    terminal.close();
  }
});

for (const limit of [25, 27, 29, 31, 33, 35, 37, 39, 41]) {
  testOnKvm(`a machine that may open ${limit} files runs, or says in one line why not`, (stage) => {
    const by = ["sh", "-c", `ulimit -n ${limit} && exec "$@"`, "sh"];
    const vmm = startGuest(stage, idle, { by, options: ["-smp", "2"] });
    vmm.send("x");
    stage.runUntil(() => vmm.hasEnded || vmm.console.includes("ready\r\n"), "a machine that runs or ends");
    if (!vmm.hasEnded) return;
    assertEquals(vmm.wait(), { code: 1 });
    assertMatch(vmm.errors, /^splitvm: .*(EMFILE|Too many open files).*\n$/);
  });
}

for (const sandbox of ["on", "off"]) {
  // Deno does upon SIGUSR1, where that is listened for.
  testOnKvm(`a machine whose threads take long to start opens no port for debuggers, -sandbox ${sandbox}`, (stage) => {
    const wait = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)";
    const vmm = startBroken(stage, breakThread(stage, "vcpu", PROGRAM, wait), ["-smp", "2", "-sandbox", sandbox]);
    vmm.waitFor("waiting\r\n");
    for (let i = 0; i < 12; i++) {
      assert(!listensAtPort(vmm.pid));
      pause(100);
    }
    vmm.send("x");
    vmm.waitFor("ready\r\n");
    assertEquals(vmm.errors, "");
  });
}
