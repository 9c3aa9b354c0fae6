/** Machines with several vCPUs: each is a thread of its own, and all of them stop together. */
import { assertEquals, assertMatch } from "@std/assert";
import smp from "./asm/smp.asm" with { type: "text" };
import { startGuest, testOnKvm } from "./guests.ts";

/** What the processors do once all have started; see `smp.asm`. */
const Action = { PRINT: 0, EXIT: 1, SLEEP: 2, RESET: 3, RESETS: 4, STRAY: 5, STRAY_0: 6 } as const;
const PRINTS = 200;

function machine(cpus: number, action: number) {
  return { constants: { CPUS: cpus, ACTION: action }, options: ["-smp", `${cpus}`] };
}

function banner(boot: number, cpus: number): string {
  return `boot ${boot}: ${cpus - 1} processors started, topology ${cpus}\r\n`;
}

for (const cpus of [2, 3, 4]) {
  testOnKvm(`${cpus} vCPUs reach devices at the same time, and nothing that they do there is lost`, (stage) => {
    const vmm = startGuest(stage, smp, machine(cpus, Action.PRINT));
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals(vmm.console, banner(0, cpus));
    const printed = Deno.readTextFileSync(`${stage.directory}/debug.txt`);
    const expected = Array.from({ length: cpus - 1 }, (_, i) => `${i + 1}`.repeat(PRINTS)).join("");
    assertEquals([...printed].sort().join(""), expected);
  });
}

testOnKvm("the last vCPU ends the machine while the others sleep", (stage) => {
  const vmm = startGuest(stage, smp, machine(4, Action.EXIT));
  assertEquals(vmm.wait(), { code: (42 << 1) | 1 });
  assertEquals([vmm.console, vmm.errors], [banner(0, 4), ""]);
});

testOnKvm("the last vCPU switches the machine off", (stage) => {
  const vmm = startGuest(stage, smp, machine(3, Action.SLEEP));
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals([vmm.console, vmm.errors], [banner(0, 3), ""]);
});

const RESETS = [["the last vCPU resets", Action.RESET], [
  "all vCPUs but the first at once reset",
  Action.RESETS,
]] as const;
for (const [who, action] of RESETS) {
  testOnKvm(`${who} the machine, and every vCPU can be started again`, (stage) => {
    const vmm = startGuest(stage, smp, machine(4, action));
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals([vmm.console, vmm.errors], [banner(0, 4) + banner(1, 4), ""]);
  });
}

const STRAYS = [["the last vCPU", Action.STRAY], ["the first vCPU", Action.STRAY_0]] as const;
for (const [who, action] of STRAYS) {
  testOnKvm(`when KVM cannot go on with ${who}, the machine ends with one line that says where`, (stage) => {
    const vmm = startGuest(stage, smp, machine(3, action));
    assertEquals(vmm.wait(), { code: 1 });
    assertEquals(vmm.console, banner(0, 3));
    assertMatch(vmm.errors, /^splitvm: KVM gave up on the guest at rip 0x[0-9a-f]+: [^\n]*\n$/);
  });
}
