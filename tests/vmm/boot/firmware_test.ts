import { assertEquals, assertThrows } from "@std/assert";
import { BootImageError } from "../../../src/vmm/boot/boot_request.ts";
import { placeFirmware } from "../../../src/vmm/boot/firmware.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

Deno.test("firmware ends at 4 GiB, and its last 128 KiB end at 1 MiB too", () => {
  assertEquals(placeFirmware(256 * KIB), {
    size: 256 * KIB,
    gpa: 0xfffc_0000,
    aliasGpa: 0xe_0000,
    aliasSize: 128 * KIB,
    aliasOffset: 128 * KIB,
  });
});

Deno.test("all of a small firmware image appears below 1 MiB", () => {
  assertEquals(placeFirmware(64 * KIB), {
    size: 64 * KIB,
    gpa: 0xffff_0000,
    aliasGpa: 0xf_0000,
    aliasSize: 64 * KIB,
    aliasOffset: 0,
  });
});

Deno.test("firmware may fill all of the flash", () => {
  assertEquals(placeFirmware(16 * MIB).gpa, 0xff00_0000);
});

Deno.test("firmware of a size that no flash has is refused", () => {
  for (const size of [0, 1, 64 * KIB - 1, 64 * KIB + 1, 96 * KIB, 16 * MIB + 64 * KIB]) {
    const error = assertThrows(() => placeFirmware(size), BootImageError);
    assertEquals(error.message, `has ${size} bytes; a firmware image has a multiple of 64 KiB, up to 16 MiB`);
  }
});
