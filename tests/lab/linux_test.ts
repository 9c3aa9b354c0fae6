/**
 * An unmodified Debian kernel as splitvm's guest, its disk in the device process. Each test is one virtual machine in a lab of its own;
 * the logs of the last run stay in `dist/lab/runs`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { mustRun, run as runProgram } from "./command.ts";
import { type GuestResult, type GuestRun, runGuest } from "./guest.ts";
import { prepareLab } from "./lab.ts";

const MIB = 0x10_0000;

/** What this kernel says as a warning on any machine like this, with QEMU as its hypervisor too, or because the lab is slow. */
const EXPECTED_COMPLAINTS = [
  // The lab's own clock is TCG's, which kvm-clock cannot promise to be stable.
  /Unstable clock detected, switching default tracing clock to "global"/,
  /If you want to keep using the local clock, then add:/,
  /"trace_clock=local"/,
  /on the kernel command line/,
  // Firmware would have made the SCI level-triggered, and Linux does it where there is none.
  /ACPI: setting ELCR to 0200 \(from 0000\)/,
  /clocksource: Long readout interval, skipping watchdog check/,
  /sym0: No NVRAM, ID 7, Fast-40, LVD, parity checking/,
  // The unit attention that SCSI requires after power-on.
  /sd 0:0:0:0: Power-on or device reset occurred/,
];

const lab = await prepareLab();

function run(guest: Omit<GuestRun, "disk"> & { readonly disk?: Uint8Array<ArrayBuffer> }): Promise<GuestResult> {
  return runGuest(lab, { disk: new Uint8Array(MIB), ...guest });
}

/** The guest did what it was told, its kernel had nothing to complain of, and it switched itself off. */
function assertWellDone(result: GuestResult): void {
  assertEquals(result.scenarioStatuses, [0], result.console);
  assertEquals(result.complaints.filter((line) => !EXPECTED_COMPLAINTS.some((known) => known.test(line))), []);
  assertEquals(result.stderr, "");
  assertEquals(result.status, 0);
}

Deno.test("lab: a bzImage boots to user space and powers the machine off", async () => {
  assertWellDone(await run({ name: "bzimage", scenario: "grep -q console=ttyS0 /proc/cmdline" }));
});

Deno.test("lab: a PVH vmlinux boots to user space and powers the machine off", async () => {
  const scenario = "grep -q console=ttyS0 /proc/cmdline";
  assertWellDone(await run({ name: "pvh", kernel: "vmlinux", scenario }));
});

Deno.test("lab: reading the whole disk gives what is in the image", async () => {
  const disk = noise(32 * MIB);
  const digest = await sha256(disk);
  const result = await run({
    name: "read",
    disk,
    scenario: "dd if=/dev/sda bs=1M | sha256sum; dd if=/dev/sda bs=64k iflag=direct | sha256sum",
  });
  assertWellDone(result);
  assertEquals([...result.console.matchAll(/^([0-9a-f]{64})\b/gm)].map(([, sum]) => sum), [digest, digest]);
});

Deno.test("lab: an ext4 file system that the guest makes is sound, inside and on the host", async () => {
  const result = await run({ name: "ext4", disk: new Uint8Array(64 * MIB), scenario: EXT4_SCENARIO });
  assertWellDone(result);
  await mustRun("e2fsck", ["-f", "-n", result.disk]);
  const sums = [...result.console.matchAll(/^sum ([0-9a-f]{64}) (\S+?)\r?$/gm)];
  assertEquals(sums.length, 4);
  for (const [, sum, file] of sums) {
    const { stdout } = await runProgram("debugfs", ["-R", `cat /${file}`, result.disk]);
    assertEquals(await sha256(stdout), sum, file);
  }
});

const EXT4_SCENARIO = `
/sbin/mke2fs -q -t ext4 /dev/sda
mkdir /mnt/disk
mount -t ext4 /dev/sda /mnt/disk
for n in 1 2 3 4; do
  dd if=/dev/urandom of=/mnt/disk/file$n bs=64k count=$((n * 40)) conv=fsync &
done
wait
umount /mnt/disk
echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 /dev/sda /mnt/disk
for n in 1 2 3 4; do echo "sum $(sha256sum < /mnt/disk/file$n | cut -c1-64) file$n"; done
umount /mnt/disk
/sbin/e2fsck -f -n /dev/sda
`;

Deno.test("lab: reboot comes back, with the disk", async () => {
  const result = await run({
    name: "reboot",
    scenario: `
if [ "$(head -c 5 /dev/sda)" = again ]; then exit 0; fi
echo -n again > /dev/sda
sync
reboot -f`,
  });
  assertWellDone(result);
  const image = await Deno.readFile(result.disk);
  assertEquals(new TextDecoder().decode(image.subarray(0, 5)), "again");
});

Deno.test("lab: every way in which Linux resets a machine comes back", async () => {
  const result = await run({ name: "resets", scenario: RESETS_SCENARIO, timeout: 300 });
  assertWellDone(result);
  assertEquals([...result.console.matchAll(/^reset by (\w+)/gm)].map(([, way]) => way), RESETS);
});

/** Values of `/sys/kernel/reboot/type`: ACPI's reset register, the keyboard controller, port 0xcf9, a triple fault. And a panic. */
const RESETS = ["acpi", "kbd", "pci", "triple", "panic"];

/** Counts on the disk how far it has come. */
const RESETS_SCENARIO = `
done=$(dd if=/dev/sda bs=1 count=1 2> /dev/null | tr -cd 0-9)
set -- ${RESETS.join(" ")} end
shift $((done))
[ $1 != end ] || exit 0
echo "reset by $1"
echo $((done + 1)) > /dev/sda
sync
if [ $1 = panic ]; then echo c > /proc/sysrq-trigger; fi
echo $1 > /sys/kernel/reboot/type
reboot -f
`;

Deno.test("lab: -no-reboot ends the machine where the guest reboots", async () => {
  const result = await run({ name: "no-reboot", scenario: "reboot -f", options: ["-no-reboot"] });
  assertEquals(result.status, 0);
  assertEquals(result.scenarioStatuses, []);
  assert(result.console.includes("Restarting system"));
});

Deno.test("lab: two vCPUs are on-line and both use the disk", async () => {
  const result = await run({
    name: "smp",
    options: ["-smp", "2"],
    disk: noise(16 * MIB),
    scenario: `
[ "$(nproc)" = 2 ]
taskset 1 dd if=/dev/sda of=/dev/null bs=64k iflag=direct count=64 &
taskset 2 dd if=/dev/sda of=/dev/null bs=64k iflag=direct skip=64 count=64
wait $!`,
  });
  assertWellDone(result);
});

Deno.test("lab: a guest that uses the 8259s gets its interrupts", async () => {
  const result = await run({
    name: "noapic",
    append: "noapic",
    scenario: "grep -E 'XT-PIC +sym53c8xx' /proc/interrupts; dd if=/dev/sda of=/dev/null bs=64k",
  });
  assertWellDone(result);
});

Deno.test("lab: the real-time clock tells the time and wakes the guest", async () => {
  const result = await run({
    name: "rtc",
    scenario: `
grep -q " 0 .* rtc0" /proc/interrupts
echo "time $(cat /sys/class/rtc/rtc0/since_epoch)"
echo +2 > /sys/class/rtc/rtc0/wakealarm
sleep 4
grep -q " 1 .* rtc0" /proc/interrupts`,
  });
  assertWellDone(result);
  const time = Number(/^time (\d+)/m.exec(result.console)?.[1]) * 1000;
  const ended = Date.now();
  assert(time > ended - 600_000 && time <= ended, `the guest's clock said ${new Date(time).toISOString()}`);
});

Deno.test("lab: what is typed on the console reaches the guest, and more than a FIFO of it", async () => {
  const line = "0123456789abcdef".repeat(20);
  const scenario = `
exec < /dev/ttyS0
stty -echo
echo "guest: ready"
read -r line
echo "line $line"`;
  const result = await run({ name: "console", scenario, input: `${line}\n` });
  assertWellDone(result);
  assertEquals(/^line (\S*?)\r?$/m.exec(result.console)?.[1], line);
});

Deno.test("lab: a disk under load comes through resets of device, bus and controller", async () => {
  // The driver waits ten seconds after each reset of the bus.
  const result = await run({
    name: "scsi-resets",
    disk: noise(16 * MIB),
    scenario: SCSI_RESETS_SCENARIO,
    timeout: 240,
  });
  assertEquals([result.status, result.stderr, result.scenarioStatuses], [0, "", [0]], result.console);
  const sums = [...result.console.matchAll(/^([0-9a-f]{64})\b/gm)].map(([, sum]) => sum);
  assertEquals(sums, Array(3).fill(await sha256(await Deno.readFile(result.disk))));
});

/** Arguments of sg_reset: the driver sends a BUS DEVICE RESET message, pulses RST#, or sets up the controller anew. */
const SCSI_RESETS_SCENARIO = ["--device", "--bus", "--host"].map((what) => `
dd if=/dev/sda of=/dev/null bs=128k iflag=direct &
dd if=/dev/sda of=/dev/null bs=4k iflag=direct count=500 &
sleep 1
/sbin/sg_reset ${what} /dev/sda
wait
dd if=/dev/sda bs=64k iflag=direct | sha256sum
`).join("");

/** Bytes without a pattern. */
function noise(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const MAX_REQUEST = 65536;
  for (let at = 0; at < size; at += MAX_REQUEST) crypto.getRandomValues(bytes.subarray(at, at + MAX_REQUEST));
  return bytes;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
