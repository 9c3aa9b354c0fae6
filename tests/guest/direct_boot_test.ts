/**
 * The project's own guests on a real machine, without firmware. All it takes is /dev/kvm.
 */
import { assert, assertEquals } from "@std/assert";
import {
  buildDemoDisk,
  buildDemoKernel,
  DEMO_FAILURE,
  DEMO_SUCCESS,
  DemoDisk,
  textOfSector,
} from "../../guests/demo/mod.ts";
import { buildHelloKernel, HELLO_LINE } from "../../guests/hello/mod.ts";
import { SOURCE, startLoneVmm, startRemote, startVmm, startWholeMachine } from "../support/machines.ts";
import { KVM, testNeeding } from "../support/requirements.ts";
import { onStage, type Program, type Stage } from "../support/stage.ts";

function test(name: string, body: (stage: Stage) => void): void {
  testNeeding([KVM], name, onStage(body));
}

/** Writes what a machine boots. @returns options to boot it with. */
function kernelOptions(stage: Stage, kernel: Uint8Array): string[] {
  const path = `${stage.directory}/kernel.elf`;
  Deno.writeFileSync(path, kernel);
  return ["-kernel", path];
}

function makeDemoDisk(stage: Stage): string {
  const image = `${stage.directory}/disk.img`;
  Deno.writeFileSync(image, buildDemoDisk());
  return image;
}

/** The guest has come to its good end, and the image holds what it wrote and is otherwise as it was. */
function assertDemoDone(vmm: Program, image: string): void {
  vmm.waitFor(DemoDisk.GREETING);
  vmm.waitFor(DEMO_SUCCESS);
  assertEquals(vmm.wait(), { code: 0 });
  assert(!vmm.console.includes(DEMO_FAILURE));
  assertEquals(vmm.errors, "");
  const written = Deno.readFileSync(image);
  assertEquals(textOfSector(written, DemoDisk.WRITE_SECTOR), DemoDisk.MESSAGE);
  const sector = DemoDisk.WRITE_SECTOR * DemoDisk.SECTOR_SIZE;
  written.fill(0, sector, sector + DemoDisk.SECTOR_SIZE);
  assertEquals(written, buildDemoDisk());
}

for (const cpus of [1, 2, 4]) {
  test(`a PVH kernel runs and powers a machine with ${cpus} vCPU(s) off`, (stage) => {
    const vmm = startLoneVmm(stage, SOURCE, ["-smp", `${cpus}`, ...kernelOptions(stage, buildHelloKernel())]);
    vmm.waitFor(HELLO_LINE);
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals(vmm.errors, "");
  });
}

test("a guest reads and writes the disk of a device process, by DMA and with interrupts", (stage) => {
  const image = makeDemoDisk(stage);
  const [near, far] = stage.link();
  const remote = startRemote(stage, SOURCE, image, far);
  const vmm = startVmm(stage, SOURCE, near, kernelOptions(stage, buildDemoKernel()));
  stage.giveAway();
  assertDemoDone(vmm, image);
  assertEquals(remote.wait(), { code: 0 });
  assertEquals(remote.errors, "");
});

test("the VMM starts the device process of a disk on its own command line, and ends it", (stage) => {
  const image = makeDemoDisk(stage);
  assertDemoDone(startWholeMachine(stage, SOURCE, image, kernelOptions(stage, buildDemoKernel())), image);
});

test("a guest's disk works where its RAM goes on above 4 GiB", (stage) => {
  const image = makeDemoDisk(stage);
  const options = ["-m", "5G", ...kernelOptions(stage, buildDemoKernel())];
  assertDemoDone(startWholeMachine(stage, SOURCE, image, options), image);
});
