/** Resets and ends: however a guest asks for them, it finds a fresh machine, or none. */
import { assert, assertEquals } from "@std/assert";
import interrupt from "./asm/interrupt.asm" with { type: "text" };
import reset from "./asm/reset.asm" with { type: "text" };
import { localDisk, startGuest, testOnKvm } from "./guests.ts";

/** See `reset.asm`. */
const WAYS = [
  ["the reset register at 0xcf9", 0],
  ["the keyboard controller", 1],
  ["port 0x92", 2],
  ["a triple fault", 3],
] as const;
const CF9 = 0;

/** Serial port, chipset and kernel image as they are when a kernel starts: line control 0, PIRQs as firmware leaves them, nothing written yet. */
function fresh(boot: number, bar = "none"): string {
  return `boot ${boot}: lcr 00 image 0 pirq 0b0b0a0a bar ${bar}\r\n`;
}

for (const [way, number] of WAYS) {
  testOnKvm(`${way} resets the machine: devices are fresh, and the kernel is loaded anew`, (stage) => {
    const vmm = startGuest(stage, reset, { constants: { RESET: number } });
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals([vmm.console, vmm.errors], [fresh(0) + fresh(1), ""]);
  });

  testOnKvm(`with -no-reboot, ${way} ends the machine with status 0`, (stage) => {
    const vmm = startGuest(stage, reset, { constants: { RESET: number }, options: ["-no-reboot"] });
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals([vmm.console, vmm.errors], [fresh(0), ""]);
  });
}

testOnKvm("a reset reaches the device in its process, which forgets its BARs", (stage) => {
  const vmm = startGuest(stage, reset, { constants: { RESET: CF9 }, options: localDisk(stage) });
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals([vmm.console, vmm.errors], [fresh(0, "00000001") + fresh(1, "00000001"), ""]);
});

testOnKvm("a device's interrupt works again after a reset in the middle of one", (stage) => {
  const vmm = startGuest(stage, interrupt, { constants: { RESET_FIRST: 1 }, options: localDisk(stage) });
  assertEquals(vmm.wait(), { code: 0 });
  const [first, second, ...rest] = vmm.console.trimEnd().split("\r\n");
  assertEquals([first, second], Array(2).fill("line is high: interrupts without end"));
  // DSTAT: the DMA FIFO is empty, and an abort was asked for.
  assertEquals(rest, ["register 90, identity 00121000", "line is low: 0 interrupts"]);
  assert(vmm.errors === "", vmm.errors);
});
