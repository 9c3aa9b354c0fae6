/**
 * A Linux file system on the LSI disk: what the host puts on it, what a guest does with it, and how the host judges the result.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { mustRun, run as runProgram } from "./command.ts";
import type { GuestResult } from "./guest.ts";

export const MKE2FS = "/usr/sbin/mke2fs";
export const E2FSCK = "/usr/sbin/e2fsck";
const DEBUGFS = "/usr/sbin/debugfs";

/** What the guest needs for {@linkcode DISK_STEPS}. */
export const FILE_SYSTEM = { modules: ["sym53c8xx", "sd_mod", "crc32c_generic", "ext4"], programs: [E2FSCK] };

const SIZE = "48M";
/** Files that the host puts on the disk, by their size in bytes: less than a block, odd, and large. */
const FILES = { tiny: 17, odd: 1_234_567, large: 6 * 2 ** 20, larger: 8 * 2 ** 20 };
/** How many files the guest writes at the same time. */
const WRITERS = 4;

/** Makes an ext4 file system with files and their checksums in a qcow2 image. */
export async function makeFileSystem(path: string): Promise<void> {
  const content = `${path}.content`;
  await Deno.mkdir(content);
  const sums: string[] = [];
  for (const [name, size] of Object.entries(FILES)) {
    const bytes = noise(size);
    await Deno.writeFile(`${content}/${name}`, bytes);
    sums.push(`${await sha256(bytes)}  ${name}\n`);
  }
  await Deno.writeTextFile(`${content}/SHA256SUMS`, sums.join(""));
  const raw = `${path}.raw`;
  await mustRun(MKE2FS, ["-q", "-t", "ext4", "-d", content, raw, SIZE]);
  await mustRun("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, path]);
  await Deno.remove(raw);
  await Deno.remove(content, { recursive: true });
}

const QUEUEING = `
[ "$(cat /sys/block/sda/device/queue_depth)" -gt 1 ]
dmesg | grep 'tagged command queuing enabled'
`;

const READING = `
mkdir -p /mnt/disk
mount -t ext4 /dev/sda /mnt/disk
cd /mnt/disk
sha256sum -c SHA256SUMS
`;

/**
 * `device_busy` is the number of commands that the disk has been given and has not answered. How high it gets depends on who is faster;
 * with one command at a time it would not get beyond 1.
 */
const CROWD = `
cd /mnt/disk
echo 3 > /proc/sys/vm/drop_caches
(
  for n in ${range(WRITERS).join(" ")}; do
    dd if=/dev/urandom of=new$n bs=128k count=$((n * 6)) conv=fsync 2> /dev/null &
  done
  for file in ${Object.keys(FILES).join(" ")}; do
    dd if=$file of=/dev/null bs=64k iflag=direct 2> /dev/null &
  done
  dd if=/dev/sda of=/dev/null bs=1M iflag=direct 2> /dev/null &
  wait
  : > /run/done
) &
most=0
until [ -e /run/done ]; do
  read -r busy < /sys/block/sda/device/device_busy
  [ "$busy" -le $most ] || most=$busy
done
echo "at most $most commands at once"
[ $most -ge 2 ]
`;

const WRITTEN = `
cd /mnt/disk
sha256sum new* > /run/sums
cd /
umount /mnt/disk
echo 3 > /proc/sys/vm/drop_caches
mount -t ext4 /dev/sda /mnt/disk
cd /mnt/disk
sha256sum -c SHA256SUMS /run/sums
sed 's/^/sum /' /run/sums
cd /
umount /mnt/disk
`;

/** Steps of the guest. */
export const DISK_STEPS = {
  "the disk takes tagged commands": QUEUEING,
  "files that the host put on the disk have the right checksums": READING,
  "many read and write at once, with several commands in flight, one of them the whole disk": CROWD,
  "files that were written survive an unmount": WRITTEN,
  "the file system is clean": `${E2FSCK.replace("/usr", "")} -f -n /dev/sda`,
  "a dd of the whole disk": "dd if=/dev/sda bs=256k iflag=direct 2> /dev/null | sha256sum | sed 's/^/disk /'",
};

/** Reports what the image holds afterwards, as steps of the test. */
export async function reportImage(test: Deno.TestContext, { disk, console }: GuestResult): Promise<void> {
  const raw = `${disk}.raw`;
  await test.step("qemu-img finds the image sound", async () => {
    await mustRun("qemu-img", ["check", "-q", disk]);
    await mustRun("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", disk, raw]);
  });
  await test.step("the host finds the file system clean", async () => {
    await mustRun(E2FSCK, ["-f", "-n", raw]);
  });
  await test.step("the host finds what the guest wrote", async () => {
    const sums = [...console.matchAll(/^sum ([0-9a-f]{64}) {2}(\S+)$/gm)];
    assertEquals(sums.length, WRITERS);
    for (const [, sum, file] of sums) {
      const { stdout } = await runProgram(DEBUGFS, ["-R", `cat /${file}`, raw]);
      assertEquals(await sha256(stdout), sum, file);
    }
  });
  await test.step("the guest read the whole disk as it is", async () => {
    assertEquals(/^disk ([0-9a-f]{64})/m.exec(console)?.[1], await sha256(await Deno.readFile(raw)));
  });
  await Deno.remove(raw);
}

/** Bytes without a pattern. */
export function noise(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const MAX_REQUEST = 65536;
  for (let at = 0; at < size; at += MAX_REQUEST) crypto.getRandomValues(bytes.subarray(at, at + MAX_REQUEST));
  return bytes;
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}
