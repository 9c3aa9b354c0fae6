/**
 * Linux resets the machine, or parts of it, and goes on.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { noise, sha256 } from "./disk_steps.ts";
import { runGuest } from "./guest.ts";
import { packageFile } from "./parts.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

const MIB = 2 ** 20;

/** Values of `/sys/kernel/reboot/type`: ACPI's reset register, the keyboard controller, port 0xcf9, a triple fault. And a panic. */
const WAYS = ["acpi", "kbd", "pci", "triple", "panic"];

/** Counts on the disk how far it has come. Before it resets it leaves commands in flight. */
const RESETS = `
done=$(dd if=/dev/sda bs=1 count=1 2> /dev/null | tr -cd 0-9)
set -- ${WAYS.join(" ")} end
shift $((done))
[ $1 != end ] || exit 0
echo "reset by $1"
echo $((done + 1)) > /dev/sda
sync
dd if=/dev/sda of=/dev/null bs=64k iflag=direct 2> /dev/null &
if [ $1 = panic ]; then echo c > /proc/sysrq-trigger; fi
echo $1 > /sys/kernel/reboot/type
reboot -f
`;

scenario("every way in which Linux resets a machine comes back to user space, with the disk", async (test, lab) => {
  const result = await runGuest(lab, {
    name: "resets",
    disk: (path) => Deno.writeFile(path, new Uint8Array(4 * MIB)),
    steps: { "the guest has reset the machine in every way": RESETS },
    timeout: 900,
  });
  await reportSteps(test, result);
  for (const way of WAYS) {
    await test.step(`by ${way}`, () => assertStringIncludes(result.console, `reset by ${way}\n`));
  }
  await test.step("the guest has booted once more than it has reset the machine", () => {
    assertEquals(result.steps.length, WAYS.length + 1);
  });
  await reportEnd(test, result);
});

/** Arguments of sg_reset: the driver sends a BUS DEVICE RESET message, pulses RST#, or sets up the controller anew. */
const SCSI_RESETS = { device: "a device", bus: "the bus", host: "the controller" };

/**
 * The kernel resets on one vCPU and takes the disk's interrupts on the other. With a single one it often spins for ever. By its source,
 * Linux 6.1 then ends a command within the driver's interrupt handler, which holds the host's lock (`nr_ctx == 1` in
 * `blk_mq_complete_request_remote`), and while a reset is under way wants that lock again (`scsi_dec_host_busy`).
 */
function scsiReset(what: string): string {
  return `
irq=$(sed -n 's/^ *\\([0-9]*\\):.*sym53c8xx.*/\\1/p' /proc/interrupts)
echo 0 > /proc/irq/$irq/smp_affinity_list
dd if=/dev/sda of=/dev/null bs=128k iflag=direct 2> /dev/null &
dd if=/dev/sda of=/dev/null bs=4k iflag=direct count=500 2> /dev/null &
sleep 1
taskset 2 /sbin/sg_reset --${what} /dev/sda
wait
dd if=/dev/sda bs=64k iflag=direct 2> /dev/null | sha256sum`;
}

scenario("a disk under load comes through resets of device, bus and controller", async (test, lab) => {
  const steps = Object.entries(SCSI_RESETS).map(([what, name]) => [`a reset of ${name}`, scsiReset(what)]);
  const result = await runGuest(lab, {
    name: "scsi-resets",
    options: ["-smp", "2"],
    disk: (path) => Deno.writeFile(path, noise(8 * MIB)),
    programs: [await packageFile("sg3-utils", "usr/bin/sg_reset")],
    steps: Object.fromEntries(steps),
  });
  await reportSteps(test, result);
  // A reset is worth a message to the driver, so that there are complaints.
  await test.step("the guest has read what is on the disk after each", async () => {
    const sums = [...result.console.matchAll(/^([0-9a-f]{64})\b/gm)].map(([, sum]) => sum);
    assertEquals(sums, Array(steps.length).fill(await sha256(await Deno.readFile(result.disk))));
  });
  await test.step("the VMM ends with status 0, without a message", () => {
    assertEquals([result.status, result.stderr], [0, ""], `logs: ${result.folder}`);
  });
});

scenario("-no-reboot ends a machine that used its 8259s where it reboots", async (test, lab) => {
  const result = await runGuest(lab, {
    name: "no-reboot",
    append: "noapic",
    options: ["-no-reboot"],
    disk: (path) => Deno.writeFile(path, noise(MIB)),
    steps: {
      "the disk interrupts by way of the 8259s": `
grep -E 'XT-PIC +sym53c8xx' /proc/interrupts
dd if=/dev/sda bs=64k | cmp - /dev/sda`,
      "the guest reboots": "reboot -f",
    },
  });
  const [disk, reboot] = result.steps;
  const logs = `logs: ${result.folder}`;
  await test.step(disk.name, () => assertEquals(disk.status, 0, `${disk.output}\n${logs}`));
  await test.step("the guest restarts the system, and does not come back", () => {
    assertEquals(result.steps.length, 2, logs);
    assertStringIncludes(reboot.output, "Restarting system", logs);
  });
  await test.step("the VMM ends with status 0, without a message", () => {
    assertEquals([result.status, result.stderr], [0, ""], logs);
  });
});
