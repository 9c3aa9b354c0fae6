import { assertEquals, assertThrows } from "@std/assert";
import { BootImageError, type BootRequest } from "../../../src/vmm/boot/boot_request.ts";
import { isBzImage, loadBzImage } from "../../../src/vmm/boot/bzimage.ts";
import { encodeE820 } from "../../../src/vmm/e820.ts";
import { bzImage, machine, pattern, type SetupFields, textAt } from "./support/images.ts";

const KERNEL = pattern(0x1800);

function assertRefused(changes: Partial<SetupFields>, message: string, request: BootRequest = machine().request): void {
  const error = assertThrows(() => loadBzImage(bzImage(KERNEL, changes), request), BootImageError, undefined, message);
  assertEquals(error.message, message);
}

Deno.test("a bzImage is known by its boot flag and HdrS", () => {
  assertEquals(isBzImage(bzImage(KERNEL)), true);
  assertEquals(isBzImage(bzImage(KERNEL, { magic: "hdrs" })), false);
  assertEquals(isBzImage(bzImage(KERNEL, { boot_flag: 0 })), false);
  assertEquals(isBzImage(bzImage(KERNEL).subarray(0, 0x205)), false);
});

Deno.test("the protected-mode kernel goes to its preferred address and is entered 0x200 behind", () => {
  const { ram, request } = machine();
  const cpu = loadBzImage(bzImage(KERNEL, { pref_address: 0x20_0000n }), request);
  assertEquals(ram.subarray(0x20_0000, 0x20_1800), KERNEL);
  assertEquals(cpu.rip, 0x20_0200);
});

Deno.test("a relocatable kernel goes to the lowest aligned address when its preferred one is taken", () => {
  for (const pref_address of [0x4000_0000n, 0xffff_ffff_ffff_f000n, 0x9_0000n]) {
    const { ram, request } = machine();
    const cpu = loadBzImage(bzImage(KERNEL, { pref_address, kernel_alignment: 0x20_0000 }), request);
    assertEquals(cpu.rip, 0x20_0200);
    assertEquals(ram.subarray(0x20_0000, 0x20_1800), KERNEL);
  }
});

Deno.test("setup_sects of zero means four", () => {
  const { ram, request } = machine();
  loadBzImage(bzImage(KERNEL, { setup_sects: 0 }), request);
  assertEquals(ram.subarray(0x10_0000, 0x10_1800), KERNEL);
});

Deno.test("the kernel is entered in long mode over an identity map, with RSI at boot_params (boot.rst)", () => {
  const { ram, request } = machine();
  const cpu = loadBzImage(bzImage(KERNEL), request);
  const view = new DataView(ram.buffer);
  assertEquals(cpu.cr0, 0x8000_0011); // PG, ET, PE
  assertEquals([cpu.cr4, cpu.efer, cpu.rflags], [0x20, 0x500, 2]); // PAE; LME and LMA; interrupts off
  assertEquals([cpu.cs.selector, cpu.cs.l, cpu.cs.db], [0x10, true, false]);
  assertEquals([cpu.data.selector, cpu.data.type], [0x18, 0x3]);
  // Descriptors as the SDM's figure 3-8 has them: 64-bit execute/read, and 32-bit read/write, both accessed.
  assertEquals(view.getBigUint64(cpu.gdt.base + 0x10, true), 0x00af_9b00_0000_ffffn);
  assertEquals(view.getBigUint64(cpu.gdt.base + 0x18, true), 0x00cf_9300_0000_ffffn);
  assertEquals(view.getBigUint64(cpu.gdt.base + 0x20, true), 0x0000_8b00_0000_0067n);
  assertEquals(view.getUint32(cpu.rsi + 0x202, true), 0x5372_6448);
});

Deno.test("the page tables map the first 4 GiB to themselves", () => {
  const { ram, request } = machine();
  const { cr3 } = loadBzImage(bzImage(KERNEL), request);
  const view = new DataView(ram.buffer);
  const entry = (table: number, index: number) => view.getBigUint64(table + 8 * index, true);
  const walk = (address: number) => {
    const pml4e = entry(cr3, Math.floor(address / 2 ** 39));
    const pdpte = entry(Number(pml4e & ~0xfffn), Math.floor(address / 2 ** 30) % 512);
    const pde = entry(Number(pdpte & ~0xfffn), Math.floor(address / 2 ** 21) % 512);
    assertEquals([pml4e & 3n, pdpte & 3n, pde & 0x83n], [3n, 3n, 0x83n]); // present, writable; 2 MiB page
    return Number(pde & ~0x1f_ffffn) + address % 2 ** 21;
  };
  for (const address of [0, 0x10_0200, 0x1f_ffff, 0x20_0000, 0x7fff_ffff, 0xfee0_0000, 0xffff_ffff]) {
    assertEquals(walk(address), address);
  }
});

Deno.test("boot_params has the kernel's own header, the loader's fields, and the memory map", () => {
  const { ram, request } = machine(undefined, 0xcc);
  const image = bzImage(KERNEL);
  const { rsi } = loadBzImage(image, { ...request, rsdpAddress: 0xe_0000, initrd: pattern(5000) });
  const view = new DataView(ram.buffer);
  const u32 = (at: number) => view.getUint32(rsi + at, true);
  assertEquals(ram.subarray(rsi + 0x22c, rsi + 0x26c), image.subarray(0x22c, 0x26c));
  assertEquals(view.getUint8(rsi + 0x210), 0xff); // type_of_loader
  assertEquals(textAt(ram, u32(0x228)), "console=ttyS0");
  assertEquals([u32(0x218), u32(0x21c)], [ram.length - 0x2000, 5000]); // ramdisk_image, ramdisk_size
  assertEquals(ram.subarray(u32(0x218), u32(0x218) + 5000), pattern(5000));
  assertEquals(view.getBigUint64(rsi + 0x70, true), 0xe_0000n); // acpi_rsdp_addr
  assertEquals(view.getUint8(rsi + 0x1e8), request.e820.length);
  const map = encodeE820(request.e820);
  assertEquals(ram.subarray(rsi + 0x2d0, rsi + 0x2d0 + map.length), map);
  assertEquals(view.getUint8(rsi + 0x1ef), 0); // sentinel: the rest is known to be zero
});

Deno.test("the initrd stays below initrd_addr_max", () => {
  const { ram, request } = machine();
  const { rsi } = loadBzImage(bzImage(KERNEL, { initrd_addr_max: 0x3f_ffff }), { ...request, initrd: pattern(5000) });
  assertEquals(new DataView(ram.buffer).getUint32(rsi + 0x218, true), 0x3f_e000);
});

Deno.test("kernels that cannot be entered in 64-bit mode are refused with what they lack", () => {
  assertRefused({ version: 0x0209 }, "speaks version 2.09 of the Linux boot protocol; 2.12 or later is needed");
  assertRefused({ loadflags: 0 }, "is a zImage for low memory; a bzImage is needed");
  assertRefused({ xloadflags: 0 }, "is a Linux kernel without a 64-bit entry point (XLF_KERNEL_64)");
});

Deno.test("setup headers with sizes that cannot be are refused", () => {
  assertRefused({ syssize: 0x181 }, "is truncated: its header speaks of 8720 bytes");
  assertRefused({ syssize: 0xffff_ffff }, "is truncated: its header speaks of 68719479280 bytes");
  assertRefused({ syssize: 0 }, "is truncated: its header speaks of 2560 bytes");
  assertRefused({ setup_sects: 255, syssize: 0x1000 }, "is truncated: its header speaks of 196608 bytes");
  assertRefused({ jump_distance: 0x10 }, "has a setup header that ends at 0x212");
  assertRefused({ kernel_alignment: 0 }, "asks for an alignment of 0x0");
  assertRefused({ kernel_alignment: 0x3000 }, "asks for an alignment of 0x3000");
  assertRefused({ kernel_alignment: 0x8000_0000 }, "asks for an alignment of 0x80000000");
  assertRefused({ init_size: 0xffff_ffff }, "needs 4294967295 bytes of RAM in one piece below 4 GiB");
  assertRefused(
    { relocatable_kernel: 0, pref_address: 0x4000_0000n },
    "must be loaded at 0x40000000-0x4001ffff, which is not usable RAM of this machine",
  );
});

Deno.test("a command line that is longer than the kernel takes is refused", () => {
  const request = { ...machine().request, commandLine: "x".repeat(256) };
  assertRefused({ cmdline_size: 255 }, "takes a command line of at most 255 bytes, and this one has 256", request);
  loadBzImage(bzImage(KERNEL, { cmdline_size: 256 }), request);
});

Deno.test("an initrd beside which the kernel does not fit is refused", () => {
  const request = { ...machine().request, initrd: new Uint8Array(7 << 20) };
  assertRefused({}, "does not fit into RAM together with its initrd of 7340032 bytes", request);
});
