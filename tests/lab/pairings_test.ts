/**
 * The same disk, with one half of the machine out of stock QEMU: what a link carries under Linux, others understand.
 */
import { DISK_STEPS, FILE_SYSTEM, makeFileSystem, reportImage } from "./disk_steps.ts";
import { runGuest } from "./guest.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

const PAIRINGS = [
  { halves: "splitvm, disk in QEMU", name: "pair-qemu-device" },
  { halves: "QEMU, disk in splitvm", name: "pair-qemu-vmm" },
] as const;

for (const { halves, name } of PAIRINGS) {
  scenario(`an ext4 file system on qcow2: VMM is ${halves}`, async (test, lab) => {
    const disk = { disk: makeFileSystem, format: "qcow2", steps: DISK_STEPS } as const;
    const result = await runGuest(lab, { name, halves, ...FILE_SYSTEM, ...disk });
    await reportSteps(test, result);
    await reportImage(test, result);
    await reportEnd(test, result);
  });
}
