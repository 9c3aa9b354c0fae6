/**
 * Linux on several vCPUs, all of which use the disk.
 */
import { assert } from "@std/assert";
import { noise } from "./disk_steps.ts";
import { type GuestResult, runGuest } from "./guest.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

const MIB = 2 ** 20;

function steps(cpus: number): Record<string, string> {
  const numbers = Array.from({ length: cpus }, (_, i) => i);
  return {
    "all vCPUs are on-line": `
[ "$(nproc)" = ${cpus} ]
[ "$(cat /sys/devices/system/cpu/online)" = 0-${cpus - 1} ]`,
    "all vCPUs use the disk at once": numbers.map((cpu) => `
taskset ${
      (1 << cpu).toString(16)
    } dd if=/dev/sda of=/run/part${cpu} bs=64k iflag=direct skip=$((${cpu} * 32)) count=32 2> /dev/null &
`).join("") + `
wait
cat ${numbers.map((cpu) => `/run/part${cpu}`).join(" ")} | cmp -n $((${cpus} * 32 * 65536)) - /dev/sda`,
    "each vCPU takes the disk's interrupts when it is told to": `
irq=$(sed -n 's/^ *\\([0-9]*\\):.*sym53c8xx.*/\\1/p' /proc/interrupts)
taken() { awk -v irq="$irq:" -v column=$(($1 + 2)) '$1 == irq { print $column }' /proc/interrupts; }
for cpu in ${numbers.join(" ")}; do
  echo $cpu > /proc/irq/$irq/smp_affinity_list
  before=$(taken $cpu)
  dd if=/dev/sda of=/dev/null bs=4k iflag=direct count=50 2> /dev/null
  after=$(taken $cpu)
  echo "vCPU $cpu: $before, then $after"
  [ "$after" -ge $((before + 40)) ]
done`,
    "each vCPU has its timer": `
grep LOC: /proc/interrupts | awk '{ for (i = 2; i <= ${cpus + 1}; i++) if ($i < 10) exit 1 }'`,
  };
}

scenario("two vCPUs", async (test, lab) => {
  const result = await runGuest(lab, {
    name: "smp-2",
    options: ["-smp", "2"],
    disk: (path) => Deno.writeFile(path, noise(8 * MIB)),
    steps: { ...steps(2), ...CLOCK },
  });
  await reportSteps(test, result);
  await reportTime(test, result);
  await reportEnd(test, result);
});

scenario("four vCPUs", async (test, lab) => {
  const result = await runGuest(lab, {
    name: "smp-4",
    options: ["-smp", "4"],
    disk: (path) => Deno.writeFile(path, noise(8 * MIB)),
    steps: steps(4),
  });
  await reportSteps(test, result);
  await reportEnd(test, result);
});

const CLOCK = {
  "the real-time clock's alarm wakes the guest": `
alarms() { sed -n 's/^ *8: *\\([0-9]*\\) *\\([0-9]*\\).*rtc0/\\1 \\2/p' /proc/interrupts; }
before=$(alarms)
echo "time $(cat /sys/class/rtc/rtc0/since_epoch)"
echo +2 > /sys/class/rtc/rtc0/wakealarm
sleep 4
[ "$(alarms)" != "$before" ]`,
};

/** What the guest read lies between a long ago start and now. */
async function reportTime(test: Deno.TestContext, { console }: GuestResult): Promise<void> {
  await test.step("the real-time clock tells the time", () => {
    const time = Number(/^time (\d+)/m.exec(console)?.[1]) * 1000;
    const now = Date.now();
    assert(time > now - 600_000 && time <= now, `the guest's clock said ${new Date(time).toISOString()}`);
  });
}
