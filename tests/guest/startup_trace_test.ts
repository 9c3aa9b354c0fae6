import { assertEquals, assertMatch } from "@std/assert";
import { localDisk, startGuest, testOnKvm } from "./guests.ts";
import idle from "./asm/idle.asm" with { type: "text" };

const LINE = /^splitvm: startup: (.+): (-?\d+\.\d\d) ms: (.+)$/;

/** The phases in what a machine wrote to standard error, by thread. */
function phasesOf(errors: string): Map<string, { time: number; phase: string }[]> {
  const lines = errors.split("\n").map((line) => LINE.exec(line)).filter((match) => match !== null);
  return Map.groupBy(
    lines.map(([, thread, time, phase]) => ({ thread, time: Number(time), phase })),
    (line) => line.thread,
  );
}

testOnKvm(
  "a traced start tells the phases of each thread and device process, in the order in which they were over",
  (stage) => {
    const by = ["env", `SPLITVM_DEBUG=startup:${Date.now()}`];
    const vmm = startGuest(stage, idle, { by, options: ["-smp", "2", ...localDisk(stage)] });
    for (const last of ["the guest's first exit", "consoles and monitors", "first messages"]) vmm.waitForError(last);
    vmm.waitForError(/vCPU 1: .* ms: devices\n/);

    const phases = phasesOf(vmm.errors);
    assertEquals([...phases.keys()].sort(), ["control thread", "device process", "vCPU 0", "vCPU 1"]);
    for (const [thread, all] of phases) {
      const times = all.map(({ time }) => time);
      assertEquals(times, times.toSorted((a, b) => a - b), thread);
      assertEquals(all.slice(0, 3).map(({ phase }) => phase), ["entry", "runtime", "program"], thread);
    }
  },
);

testOnKvm("without a time, a traced start counts from when the runtime was entered", (stage) => {
  const vmm = startGuest(stage, idle, { by: ["env", "SPLITVM_DEBUG=startup"] });
  vmm.waitForError("the guest's first exit");
  assertMatch(vmm.errors, /^splitvm: startup: vCPU 0: 0\.00 ms: entry$/m);
});

testOnKvm("a start that is not traced tells nothing", (stage) => {
  const vmm = startGuest(stage, idle, { by: ["env", "SPLITVM_DEBUG=1"] });
  vmm.waitFor("\n");
  assertEquals(vmm.errors, "");
});
