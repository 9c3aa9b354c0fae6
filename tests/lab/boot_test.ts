/**
 * Debian's kernels boot to user space without firmware, and a person can use the serial console there.
 */
import { assertEquals } from "@std/assert";
import type { GuestConsole } from "./guest_console.ts";
import { runGuest } from "./guest.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

const KERNELS = ["generic", "cloud"] as const;
const IMAGES = { bzImage: "a bzImage", vmlinux: "a PVH vmlinux" } as const;

/** More than the FIFO of a 16550A holds, and less than a line of Linux's terminal. */
const LONG_LINE = "0123456789abcdef".repeat(20);

/** Steps that need no driver. */
const STEPS = {
  "user space has the command line": "grep -q console=ttyS0 /proc/cmdline",
  "a shell on the serial console": "setsid sh -c 'exec sh -i < /dev/ttyS0 > /dev/ttyS0 2>&1'",
};

/** What a person does: types commands at the prompt, and sees what they print; one is interrupted by Ctrl-C. */
async function useShell(console: GuestConsole): Promise<void> {
  await console.waitFor("# ");
  await console.type("echo $((6 * 7))\r");
  await console.waitFor(/^42\r\n/m);
  await console.type(`echo ${LONG_LINE} | wc -c\r`);
  await console.waitFor(new RegExp(`^${LONG_LINE.length + 1}\r\n`, "m"));
  await console.type("cat\r");
  await console.waitFor("cat\r\n");
  await console.type("\x03");
  await console.waitFor("# ");
  await console.type("exit 0\r");
}

for (const kernel of KERNELS) {
  for (const image of ["bzImage", "vmlinux"] as const) {
    scenario(
      `${IMAGES[image]} of Debian's ${kernel} kernel boots to a shell on the serial console`,
      async (test, lab) => {
        const run = { name: `boot-${kernel}-${image}`, kernel, image, modules: [], steps: STEPS, dialogue: useShell };
        const result = await runGuest(lab, run);
        await reportSteps(test, result);
        await reportEnd(test, result);
        assertEquals(result.steps.length, Object.keys(STEPS).length, "the guest booted once");
      },
    );
  }
}
