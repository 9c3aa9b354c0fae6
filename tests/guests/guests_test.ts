import { assert, assertEquals } from "@std/assert";
import { BOOT_LINES, BootDisk, buildBootDisk } from "../../guests/boot_sector/mod.ts";
import {
  buildDemoDisk,
  buildDemoKernel,
  DEMO_FAILURE,
  DEMO_SUCCESS,
  DemoDisk,
  textOfSector,
} from "../../guests/demo/mod.ts";
import { buildHelloKernel, HELLO_LINE } from "../../guests/hello/mod.ts";
import { buildRegistersKernel, parseMeasurements } from "../../guests/registers/mod.ts";
import { buildStartupKernel } from "../../guests/startup/mod.ts";
import { loadKernel } from "../../src/vmm/boot/boot_image.ts";
import { machine } from "../vmm/boot/support/images.ts";

/** Whether `bytes` hold the ASCII text. */
function holdsText(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes).includes(text);
}

Deno.test("every PVH guest is a kernel that the VMM loads at 1 MiB and enters inside", () => {
  for (const image of [buildHelloKernel(), buildDemoKernel(), buildRegistersKernel(), buildStartupKernel()]) {
    const { rip, cr0 } = loadKernel(image, machine(2 << 20).request);
    assert(rip >= 0x10_0000 && rip < 0x10_0000 + image.length);
    assertEquals(cr0 & 1, 1);
    assert(image.length < 8192, "small enough to be read");
  }
});

Deno.test("the guests say what their builders promise", () => {
  assert(holdsText(buildHelloKernel(), `${HELLO_LINE}\n`));
  for (const text of [DEMO_SUCCESS, DEMO_FAILURE, DemoDisk.MESSAGE]) assert(holdsText(buildDemoKernel(), text), text);
});

Deno.test("the demo's disk has the greeting, and nothing where the guest will write", () => {
  const disk = buildDemoDisk();
  assertEquals(disk.length, 1 << 20);
  assertEquals(textOfSector(disk, DemoDisk.READ_SECTOR), DemoDisk.GREETING);
  assertEquals(textOfSector(disk, DemoDisk.WRITE_SECTOR), "");
});

Deno.test("the boot disk starts with a boot sector and an empty partition table", () => {
  const disk = buildBootDisk();
  assertEquals([...disk.subarray(510, 512)], [0x55, 0xaa]);
  assertEquals(disk.subarray(446, 510), new Uint8Array(64));
});

Deno.test("the boot disk holds each text in its sector, and nothing where the guest will write", () => {
  const disk = buildBootDisk();
  assertEquals(textOfSector(disk, BootDisk.LBA_TEXT_SECTOR), BootDisk.LBA_TEXT);
  assertEquals(textOfSector(disk, BootDisk.CHS_TEXT_SECTOR), BootDisk.CHS_TEXT);
  assertEquals(textOfSector(disk, BootDisk.WRITE_SECTOR), "");
  assert(holdsText(disk.subarray(512, 512 * BootDisk.LBA_TEXT_SECTOR), BootDisk.WRITTEN_TEXT));
});

Deno.test("the sum that the boot disk's guest is to print is that of the block on the disk", () => {
  const start = BootDisk.BLOCK_SECTOR * BootDisk.SECTOR_SIZE;
  const view = new DataView(buildBootDisk().buffer, start, BootDisk.BLOCK_SECTORS * BootDisk.SECTOR_SIZE);
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 4) sum = (sum + view.getUint32(at, true)) % 2 ** 32;
  assert(BOOT_LINES.includes(`boot: block read: sum 0x${sum.toString(16).padStart(8, "0")}`));
});

Deno.test("int 13h can speak of every sector of the boot disk: 4 cylinders, 16 heads, 63 sectors", () => {
  assertEquals(buildBootDisk().length, 4 * 16 * 63 * 512);
});

Deno.test("measurements are found in the benchmark guest's output", () => {
  const output = "Booting from ROM..\r\nbench: load-effect 2000 accesses, cycles 0x0000000100000010\r\nbench: done\r\n";
  assertEquals(parseMeasurements(output), [{ name: "load-effect", accesses: 2000, cycles: 0x1_0000_0010 }]);
});
