/**
 * Linux uses a disk on the LSI controller, by its own driver, sym53c8xx. The device process is the one that the VMM starts.
 */
import { DISK_STEPS, FILE_SYSTEM, makeFileSystem, reportImage } from "./disk_steps.ts";
import { runGuest } from "./guest.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

scenario("an ext4 file system on qcow2", async (test, lab) => {
  const run = { name: "disk", ...FILE_SYSTEM, disk: makeFileSystem, format: "qcow2", steps: DISK_STEPS } as const;
  const result = await runGuest(lab, run);
  await reportSteps(test, result);
  await reportImage(test, result);
  await reportEnd(test, result);
});
