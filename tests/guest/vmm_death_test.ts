/**
 * A VMM that is killed takes its device processes with it, whatever they are doing. What is left of a test's programs becomes the test's own
 * child, and the stage fails a test in which it has to end one of them.
 */
import { assert, assertEquals } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { buildWriterKernel, WRITER_READY } from "../crash/writer_guest.ts";
import { childrenOf, commandLineOf, signalProcess, waitForState } from "../support/process_tree.ts";
import { pause } from "../support/qmp_client.ts";
import { KVM, testNeeding } from "../support/requirements.ts";
import { onStage, type Program, type Stage } from "../support/stage.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import { guestCommand, localDisk, startGuest } from "./guests.ts";

/** What is killed by the kernel with its parent needs no time of its own; so long it may take until somebody looks, in milliseconds. */
const AT_ONCE = 2_000;

/** One that has not got as far as to be killed with its parent starts, finds its link closed, and ends. */
const ONCE_STARTED = 30_000;

const SIGABRT = 6;

/** A machine, and what its device processes are brought to do before the VMM is killed. */
interface Situation {
  readonly name: string;
  readonly patience: number;
  /** @default {whether device processes are in a jail or not} */
  readonly sandbox?: string;
  /** Starts a machine with two devices, and returns once they do it. */
  readonly start: (stage: Stage, sandbox: string) => Program;
}

/** Options for an adapter with a disk, and another without. */
function twoDevices(stage: Stage, sandbox: string): string[] {
  return [...localDisk(stage, `sandbox=${sandbox}`), "-device", `lsi53c895a,id=lsi1,addr=2,sandbox=${sandbox}`];
}

function startIdle(stage: Stage, sandbox: string): Program {
  const vmm = startGuest(stage, idle, { options: twoDevices(stage, sandbox) });
  vmm.waitFor("waiting\r\n");
  assertEquals(childrenOf(vmm.pid).length, 2);
  return vmm;
}

/** The device processes of a VMM that starts, as soon as there are so many. */
function awaitChildren(vmm: Program, count: number): number[] {
  for (;;) {
    const children = childrenOf(vmm.pid);
    if (children.length >= count || vmm.hasEnded) return children;
    pause(1);
  }
}

const SITUATIONS: readonly Situation[] = [
  { name: "wait for something to do", patience: AT_ONCE, start: startIdle },
  {
    name: "are stopped",
    patience: AT_ONCE,
    start: (stage, sandbox) => {
      const vmm = startIdle(stage, sandbox);
      for (const child of childrenOf(vmm.pid)) {
        signalProcess(child, Signal.STOP);
        waitForState(() => child, "T");
      }
      return vmm;
    },
  },
  {
    name: "carry out requests",
    patience: AT_ONCE,
    start: (stage, sandbox) => {
      const kernel = `${stage.directory}/writer.elf`;
      const sectors = (1 << 20) / 512;
      Deno.writeFileSync(kernel, buildWriterKernel({ firstId: 1, seed: 1, sectors }));
      const vmm = stage.start({ name: "VMM", command: guestCommand(kernel, localDisk(stage, `sandbox=${sandbox}`)) });
      vmm.waitFor(WRITER_READY);
      vmm.waitFor("flushed ");
      return vmm;
    },
  },
  {
    name: "have just been made",
    patience: ONCE_STARTED,
    start: (stage, sandbox) => {
      const vmm = startGuest(stage, idle, { options: twoDevices(stage, sandbox) });
      awaitChildren(vmm, 1);
      return vmm;
    },
  },
  {
    // Without a jail it is they that ask to be killed with their parent, as soon as they run.
    name: "have begun to execute their program, and are stopped",
    sandbox: "on",
    patience: AT_ONCE,
    start: (stage, sandbox) => {
      const vmm = startGuest(stage, idle, { options: twoDevices(stage, sandbox) });
      const [child] = awaitChildren(vmm, 1);
      while (!commandLineOf(child).includes("-machine remote")) pause(1);
      signalProcess(child, Signal.STOP);
      waitForState(() => child, "T");
      return vmm;
    },
  },
  ...[20, 60, 120].map((delay) => ({
    name: `have been starting for ${delay} ms`,
    patience: ONCE_STARTED,
    start: (stage: Stage, sandbox: string) => {
      const vmm = startGuest(stage, idle, { options: twoDevices(stage, sandbox) });
      awaitChildren(vmm, 2);
      pause(delay);
      return vmm;
    },
  })),
];

for (const sandbox of ["on", "off"]) {
  for (const { name, patience, start, sandbox: only = sandbox } of SITUATIONS) {
    if (only !== sandbox) continue;
    testNeeding(
      [KVM],
      `a VMM that is killed takes device processes with it that ${name} (sandbox=${sandbox})`,
      onStage((stage) => {
        const vmm = start(stage, sandbox);
        assert(!vmm.hasEnded);
        vmm.signal(Signal.KILL);
        assertEquals(vmm.wait(), { signal: Signal.KILL });
      }, patience),
    );
  }

  testNeeding(
    [KVM],
    `a VMM that is killed while it stands still takes its device processes with it (sandbox=${sandbox})`,
    onStage((stage) => {
      const vmm = startIdle(stage, sandbox);
      vmm.signal(Signal.STOP);
      waitForState(() => vmm.pid, "T");
      vmm.signal(Signal.KILL);
      assertEquals(vmm.wait(), { signal: Signal.KILL });
    }, AT_ONCE),
  );

  testNeeding(
    [KVM],
    `a VMM that crashes takes its device processes with it (sandbox=${sandbox})`,
    onStage((stage) => {
      const vmm = startIdle(stage, sandbox);
      vmm.signal(SIGABRT);
      assertEquals(vmm.wait(), { signal: SIGABRT });
    }, AT_ONCE),
  );
}
