/**
 * Every pairing of splitvm's halves with each other and with stock QEMU's: firmware boots from the disk at the other end of the link,
 * reads it by all of int 13h's ways, and writes to it.
 */
import { assertEquals } from "@std/assert";
import { BOOT_LINES, BootDisk, buildBootDisk } from "../../guests/boot_sector/mod.ts";
import {
  type Build,
  BUILDS,
  type Half,
  jailing,
  startRemote,
  startVmm,
  startWholeMachine,
} from "../support/machines.ts";
import { built, KVM, QEMU, SEABIOS, testNeeding } from "../support/requirements.ts";
import { onStage, type Program, type Stage } from "../support/stage.ts";

function makeBootDisk(stage: Stage): string {
  const image = `${stage.directory}/boot.img`;
  Deno.writeFileSync(image, buildBootDisk());
  return image;
}

/** The guest has told its story and switched the machine off, and nothing but what it wrote has changed in the image. */
function assertBooted(vmm: Program, image: string): void {
  for (const line of BOOT_LINES) vmm.waitFor(`${line}\r\n`);
  assertEquals(vmm.wait(), { code: 0 });
  const expected = buildBootDisk();
  const written = new TextEncoder().encode(BootDisk.WRITTEN_TEXT);
  expected.set(written, BootDisk.WRITE_SECTOR * BootDisk.SECTOR_SIZE);
  assertEquals(Deno.readFileSync(image), expected);
}

/** Boots with the halves in two processes that this test starts. */
function bootPair(stage: Stage, vmmHalf: Half, remoteHalf: Half): void {
  const image = makeBootDisk(stage);
  const [near, far] = stage.link();
  const remote = startRemote(stage, remoteHalf, image, far);
  const vmm = startVmm(stage, vmmHalf, near);
  stage.giveAway();
  assertBooted(vmm, image);
  assertEquals(remote.wait(), { code: 0 });
}

function testBuild(build: Build): void {
  const needs = [KVM, SEABIOS, built(build)];
  const pairings: [string, Half, Half][] = [
    ["splitvm, disk in splitvm", build, build],
    ["splitvm, disk in QEMU", build, "qemu"],
    ["QEMU, disk in splitvm", "qemu", build],
    ["QEMU, disk in splitvm jail", "qemu", jailing(build)],
    ["splitvm, disk in splitvm jail", build, jailing(build)],
  ];
  for (const [name, vmm, remote] of pairings) {
    const halves = [vmm, remote];
    testNeeding(
      halves.includes("qemu") ? [...needs, QEMU] : needs,
      `SeaBIOS boots: VMM is ${name} (${build.name})`,
      onStage((stage) => bootPair(stage, vmm, remote)),
    );
  }
  testNeeding(
    needs,
    `SeaBIOS boots from a disk whose device process the VMM started itself (${build.name})`,
    onStage((stage) => {
      const image = makeBootDisk(stage);
      assertBooted(startWholeMachine(stage, build, image), image);
    }),
  );
}

BUILDS.forEach(testBuild);
