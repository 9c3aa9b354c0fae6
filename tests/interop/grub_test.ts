/**
 * GRUB boots from a disk that our device process serves to our VMM, reads files of real file systems, shows its menu on the
 * serial console, and is typed at.
 */
import { assertEquals } from "@std/assert";
import { EXT4_DISK_NEEDS, type Files, ISO_DISK_NEEDS, makeExt4Disk, makeIsoDisk } from "../support/grub_disk.ts";
import { type Build, BUILDS, startRemote, startVmm } from "../support/machines.ts";
import { built, KVM, type Requirement, SEABIOS, testNeeding } from "../support/requirements.ts";
import { onStage, type Stage } from "../support/stage.ts";

/** Reads one file by itself, then shows a menu and waits. A terminal without escape sequences is easier to read. */
const CONFIGURATION = `
serial --unit=0 --speed=115200
terminfo serial dumb
terminal_input serial
terminal_output serial
cat /texts/first
set timeout=-1
menuentry "Read the second file" {
  cat /texts/second
  echo
  halt
}
`;

const ENTER = "\r";
const ESCAPE = "\x1b";

/** Something that is nowhere else. */
function randomText(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bootGrub(stage: Stage, build: Build, makeDisk: (folder: string, files: Files) => string): void {
  const [first, second, third] = [randomText(), randomText(), randomText()];
  const disk = makeDisk(stage.directory, {
    "boot/grub/grub.cfg": CONFIGURATION,
    "texts/first": `${first}\n`,
    "texts/second": `${second}\n`,
    "texts/third": `${third}\n`,
  });
  const [near, far] = stage.link();
  const remote = startRemote(stage, build, disk, far);
  const vmm = startVmm(stage, build, near);
  stage.giveAway();

  vmm.waitFor(first);
  vmm.waitFor("Read the second file");
  vmm.send("c");
  vmm.waitFor("grub>");
  vmm.send(`cat /texts/third${ENTER}`);
  vmm.waitFor(third);
  // Not before the prompt is there again: until then the key would mean to stop the printing.
  vmm.waitFor("grub>");
  vmm.send(ESCAPE);
  vmm.waitFor("Read the second file");
  vmm.send(ENTER);
  vmm.waitFor(second);
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals(remote.wait(), { code: 0 });
}

const DISKS: [string, readonly Requirement[], typeof makeExt4Disk][] = [
  ["ext4", EXT4_DISK_NEEDS, makeExt4Disk],
  ["ISO 9660", ISO_DISK_NEEDS, makeIsoDisk],
];

for (const build of BUILDS) {
  for (const [fileSystem, needs, makeDisk] of DISKS) {
    testNeeding(
      [KVM, SEABIOS, built(build), ...needs],
      `GRUB reads files from ${fileSystem}, and its menu and prompt take what is typed (${build.name})`,
      onStage((stage) => bootGrub(stage, build, makeDisk)),
    );
  }
}
