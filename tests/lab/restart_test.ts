/**
 * The device process is killed again and again under a Linux that uses its disk: Linux's driver for the controller, sym53c8xx, takes what it
 * sees for a reset of the SCSI bus.
 */
import { assert, assertEquals } from "@std/assert";
import { mustRun } from "./command.ts";
import { unexpectedComplaints } from "./complaints.ts";
import { E2FSCK, FILE_SYSTEM, MKE2FS } from "./disk_steps.ts";
import { runGuest } from "./guest.ts";
import { reportSteps, scenario } from "./scenario.ts";

const KILLS = 20;
const FILES = 4;

/** Writes files, and reads all of them back from the disk, until it has seen every reset of the bus and come through it. */
const LOAD = `
mkdir -p /mnt/disk /run/sums
mount -t ext4 /dev/sda /mnt/disk
cd /mnt/disk
n=0
after=0
until [ $after -ge 2 ]; do
  n=$((n + 1))
  file=file$((n % ${FILES}))
  dd if=/dev/urandom of=$file bs=32k count=2 conv=fsync 2> /dev/null
  sha256sum $file > /run/sums/$file
  echo 3 > /proc/sys/vm/drop_caches
  cat /run/sums/* | sha256sum -c > /run/checked || { cat /run/checked; exit 1; }
  echo "written $n"
  if [ "$(dmesg | grep -c 'SCSI BUS reset detected')" -ge ${KILLS} ]; then after=$((after + 1)); fi
done
`;

const REMOUNTED = `
cd /
umount /mnt/disk
echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 /dev/sda /mnt/disk
cd /mnt/disk
cat /run/sums/* | sha256sum -c
cd /
umount /mnt/disk
`;

/** The whole run takes some four minutes, and several times as long where much else runs. */
const PATIENCE = 1500;

/**
 * Kills it only when the guest has written and read something since the last time. Under QEMU's TCG the lab's kernel now and then takes an
 * interrupt where it has masked them, and dies when that is where it enters from user mode: so this starts no process but for a kill.
 */
const KILLER = `
device() { grep -la '[i]d=remote0' /proc/[0-9]*/cmdline 2> /dev/null | cut -d / -f 3; }
kills=0
written=0
tail ---disable-inotify -q -f -n +1 -s 0.2 /lab/console.log /lab/stderr.log | while read -r line; do
  case $line in
    *'is back after'*) written=0 ;;
    written*) written=$((written + 1)) ;;
    *) continue ;;
  esac
  if [ $written -ge 2 ] && [ $kills -lt ${KILLS} ]; then
    written=-1000
    kills=$((kills + 1))
    kill -9 $(device)
  fi
done
`;

const GONE = "splitvm: device lsi0 is gone: its process was killed by signal 9; it reads as all-ones until it is back";
const BACK = /^splitvm: device lsi0 is back after (\d+) ms$/;

/** What Linux says of a bus that was reset. */
const OF_RESETS = [
  /sym0: SCSI BUS reset detected/,
  /sym0: SCSI BUS has been reset/,
  /Power-on or device reset occurred/,
];

scenario(`an ext4 file system outlives ${KILLS} deaths of its device process under load`, async (test, lab) => {
  const result = await runGuest(lab, {
    name: "restart",
    timeout: PATIENCE,
    ...FILE_SYSTEM,
    adapter: `restart=${KILLS}`,
    beside: KILLER,
    disk: async (path) => void await mustRun(MKE2FS, ["-q", "-t", "ext4", path, "32M"]),
    steps: {
      "what is written can be read, without a reboot": LOAD,
      "all of it is there after an unmount": REMOUNTED,
      "the file system is clean": `${E2FSCK.replace("/usr", "")} -f -n /dev/sda`,
    },
  });
  await reportSteps(test, result);
  const logs = `logs: ${result.folder}`;
  await test.step("each death is followed by one return of the device", () => {
    const lines = result.stderr.trimEnd().split("\n");
    const times = lines.flatMap((line) => BACK.exec(line)?.[1] ?? []).map(Number);
    assertEquals(
      [lines.filter((line) => line === GONE).length, times.length, lines.length],
      [KILLS, KILLS, 2 * KILLS],
      logs,
    );
  });
  await test.step("the guest's kernel speaks of resets, and complains of nothing else", () => {
    const others = unexpectedComplaints(result.complaints).filter((line) =>
      !OF_RESETS.some((known) => known.test(line))
    );
    assertEquals(others, [], logs);
    assert(!/aborting command|task abort|Offlining/i.test(result.console), logs);
  });
  await test.step("the host finds the file system clean", async () => {
    await mustRun(E2FSCK, ["-f", "-n", result.disk]);
  });
  await test.step("the guest powers off, and the VMM ends with status 0", () => assertEquals(result.status, 0, logs));
});
