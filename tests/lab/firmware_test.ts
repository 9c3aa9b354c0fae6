/**
 * An ordinary Debian installation boots from its LSI disk by way of firmware, is used by somebody at the serial console, and powers off.
 */
import { assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { join } from "@std/path";
import { mustRun } from "./command.ts";
import { unexpectedComplaints } from "./complaints.ts";
import { type DebianImage, prepareDebianImage } from "./debian_image.ts";
import { talk, TYPING } from "./guest.ts";
import type { GuestConsole } from "./guest_console.ts";
import { machineCommand } from "./halves.ts";
import { type Lab, runFolder } from "./lab.ts";
import { CACHE } from "./parts.ts";
import { scenario } from "./scenario.ts";

/** Seconds until the virtual machine is killed: it hangs then. */
const TIMEOUT = 500;
const ENTER = "\r";
const PROMPT = "root@splitvm:~# ";

/** Levels 0 to 4, warnings and worse. */
const SHOW_COMPLAINTS = "dmesg -r | grep '^<[0-4]>' | sed 's/^/guest: kernel /'";

/** The machine's disk is a layer over the installation, which stays as it is. */
function labScript(image: DebianImage): string {
  const disk = { file: "/scratch/disk", format: "qcow2" };
  const machine = machineCommand("splitvm", { direct: undefined, disk, options: [] });
  return `
dist/splitvm img create -q -f qcow2 -b '${image.path}' -F raw ${disk.file} || exit
mkfifo /scratch/input
${TYPING} > /scratch/input &
timeout ${TIMEOUT} ${machine} < /scratch/input > /lab/console.log 2> /lab/stderr.log
status=$?
cp ${disk.file} /lab/disk
exit $status
`;
}

/** What a person does, from power-on to power-off. */
async function useDebian(console: GuestConsole, password: string): Promise<void> {
  await console.waitFor("SeaBIOS");
  await console.waitFor("Booting from Hard Disk");
  await console.waitFor("GNU GRUB");
  await console.waitFor("*Debian GNU/Linux");
  await console.type(ENTER);
  await console.waitFor("Loading initial ramdisk");
  await console.waitFor("splitvm login: ");
  await console.type(`root${ENTER}`);
  await console.waitFor("Password: ");
  await console.type(password + ENTER);
  await atPrompt(console, "systemctl is-system-running --wait", /^running\r\n/m);
  await atPrompt(console, "findmnt -n -o SOURCE,FSTYPE /", /^\/dev\/sda1 ext4\r\n/m);
  await atPrompt(console, "uname -r > /root/note && echo $((6 * 7))", /^42\r\n/m);
  await atPrompt(console, SHOW_COMPLAINTS);
  await atPrompt(console, "systemctl poweroff", "reboot: Power down");
}

async function atPrompt(console: GuestConsole, command: string, answer: RegExp | string = ""): Promise<void> {
  await console.waitFor(PROMPT);
  await console.type(command + ENTER);
  await console.waitFor(answer);
}

/** Boots it. @returns the VMM's status, and the folder with what it and the guest left. */
async function boot(lab: Lab, image: DebianImage): Promise<{ status: number; folder: string }> {
  const name = "firmware";
  const folder = await runFolder(name);
  for (const file of ["console.log", "stderr.log", "input"]) await Deno.writeFile(join(folder, file), new Uint8Array());
  const running = lab.run({ name, script: labScript(image), timeout: TIMEOUT + 60 });
  await talk(folder, (console) => useDebian(console, image.password), running, TIMEOUT);
  return { status: await running, folder };
}

scenario("SeaBIOS, GRUB and Debian boot from the LSI disk to a login prompt, and power off", async (test, lab) => {
  const image = await prepareDebianImage(CACHE);
  const { status, folder } = await boot(lab, image);
  const console = (await Deno.readTextFile(join(folder, "console.log"))).replaceAll("\r\n", "\n");
  const logs = `logs: ${folder}`;

  await test.step("the VMM ends with status 0, without a message", async () => {
    const stderr = await Deno.readTextFile(join(folder, "stderr.log"));
    assertEquals({ status, stderr }, { status: 0, stderr: "" }, logs);
  });
  await test.step("the guest's kernel complains of nothing", () => {
    const complaints = [...console.matchAll(/^guest: kernel (.*)/gm)].map(([, text]) => text);
    assertEquals(unexpectedComplaints(complaints), [], logs);
    // On a quiet console there is what is worse than a warning, and the end.
    const shown = [...console.matchAll(/\[ *\d+\.\d{6}\] (.*)/g)].map(([, text]) => text);
    assertEquals(
      shown.filter((line) => !complaints.some((known) => known.includes(line))),
      ["reboot: Power down"],
      logs,
    );
  });
  await test.step("the file system was unmounted, is sound, and holds what was written", async () => {
    const disk = join(folder, "disk.raw");
    await mustRun("qemu-img", ["convert", "-O", "raw", join(folder, "disk"), disk]);
    const root = `${disk}?offset=${image.rootOffset}`;
    const report = await mustRun("e2fsck", ["-f", "-n", root]);
    assertNotMatch(report, /journal/, "it has to be recovered");
    assertMatch(await mustRun("debugfs", ["-R", "cat /root/note", root]), /^6\.\d+\.\d+-\d+-amd64\n$/);
    await Deno.remove(disk);
  });
});
