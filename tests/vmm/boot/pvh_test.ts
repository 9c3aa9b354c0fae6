import { assertEquals, assertThrows } from "@std/assert";
import { BootImageError, type BootRequest } from "../../../src/vmm/boot/boot_request.ts";
import { loadPvh } from "../../../src/vmm/boot/pvh.ts";
import { E820Type } from "../../../src/vmm/e820.ts";
import { buildPvhElf } from "../../../guests/pvh_elf.ts";
import { elf64, littleEndian, machine, note, pattern, pvhNote, type TestSegment, textAt } from "./support/images.ts";

const LOAD = 1;
const code = (physical: number, length = 0x100, more: Partial<TestSegment> = {}): TestSegment => ({
  type: LOAD,
  physical: BigInt(physical),
  bytes: pattern(length),
  ...more,
});

function assertRefused(image: Uint8Array, message: string, request: BootRequest = machine().request): void {
  const error = assertThrows(() => loadPvh(image, request), BootImageError, undefined, message);
  assertEquals(error.message, message);
}

Deno.test("a PVH kernel's segments are copied to their physical addresses, and the rest of each is zeroed", () => {
  const { ram, request } = machine(undefined, 0xcc);
  loadPvh(elf64([code(0x10_0000, 0x100, { memorySize: 0x300n }), code(0x20_0000), pvhNote(0x10_0010)]), request);
  assertEquals(ram.subarray(0x10_0000, 0x10_0100), pattern(0x100));
  assertEquals(ram.subarray(0x10_0100, 0x10_0300), new Uint8Array(0x200));
  assertEquals(ram[0x10_0300], 0xcc);
  assertEquals(ram.subarray(0x20_0000, 0x20_0100), pattern(0x100));
});

Deno.test("a PVH kernel is entered in 32-bit protected mode without paging, with EBX at the start info", () => {
  const { ram, request } = machine();
  const cpu = loadPvh(elf64([code(0x10_0000), pvhNote(0x10_0010)]), request);
  assertEquals(cpu.rip, 0x10_0010);
  assertEquals(cpu.cr0 & 0x8000_0001, 1); // PE set, PG clear
  assertEquals([cpu.cr4, cpu.efer, cpu.rflags], [0, 0, 2]);
  const { cs, data, tr } = cpu;
  assertEquals([cs.base, cs.limit, cs.type, cs.db, cs.l, cs.g], [0, 0xffff_ffff, 0xb, true, false, true]);
  assertEquals([data.base, data.limit, data.type, data.db], [0, 0xffff_ffff, 0x3, true]);
  assertEquals([tr.base, tr.limit, tr.type, tr.s], [0, 0x67, 0xb, false]);
  assertEquals(new DataView(ram.buffer).getUint32(cpu.rbx, true), 0x336e_c578);
});

Deno.test("the start info has version 1 and points at command line, RSDP and memory map", () => {
  const { ram, request } = machine();
  const { rbx } = loadPvh(elf64([code(0x10_0000), pvhNote(0x10_0000)]), { ...request, rsdpAddress: 0xe_0000 });
  const view = new DataView(ram.buffer);
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  assertEquals([view.getUint32(rbx + 4, true), view.getUint32(rbx + 8, true)], [1, 0]); // version, flags
  assertEquals([view.getUint32(rbx + 12, true), u64(rbx + 16)], [0, 0]); // no modules
  assertEquals(textAt(ram, u64(rbx + 24)), "console=ttyS0");
  assertEquals(u64(rbx + 32), 0xe_0000);
  const count = view.getUint32(rbx + 48, true);
  const entries = Array.from({ length: count }, (_, index) => {
    const at = u64(rbx + 40) + 24 * index;
    return { base: u64(at), size: u64(at + 8), type: view.getUint32(at + 16, true) };
  });
  assertEquals(entries, request.e820);
});

Deno.test("the initrd is the start info's only module, whole, page-aligned, at the top of RAM", () => {
  const { ram, request } = machine();
  const initrd = pattern(5000);
  const { rbx } = loadPvh(elf64([code(0x10_0000), pvhNote(0x10_0000)]), { ...request, initrd });
  const view = new DataView(ram.buffer);
  assertEquals(view.getUint32(rbx + 12, true), 1);
  const module = Number(view.getBigUint64(rbx + 16, true));
  const at = Number(view.getBigUint64(module, true));
  assertEquals(at, ram.length - 0x2000);
  assertEquals(Number(view.getBigUint64(module + 8, true)), 5000);
  assertEquals(ram.subarray(at, at + 5000), initrd);
});

Deno.test("the initrd goes around a kernel at the top of RAM", () => {
  const { ram, request } = machine();
  const top = ram.length - 0x1000;
  const { rbx } = loadPvh(elf64([code(top), pvhNote(top)]), { ...request, initrd: pattern(0x1000) });
  const view = new DataView(ram.buffer);
  assertEquals(Number(view.getBigUint64(Number(view.getBigUint64(rbx + 16, true)), true)), top - 0x1000);
});

Deno.test("32-bit ELF files and 4-byte entry notes do too", () => {
  const { ram, request } = machine();
  const image = buildPvhElf({ code: pattern(64), loadAddress: 0x10_0000, entry: 0x10_0020, memorySize: 128 });
  assertEquals(loadPvh(image, request).rip, 0x10_0020);
  assertEquals(ram.subarray(0x10_0000, 0x10_0040), pattern(64));
  assertEquals(loadPvh(elf64([code(0x10_0000), pvhNote(0x10_0001, 4)]), request).rip, 0x10_0001);
});

Deno.test("the entry is found behind notes of other owners and types", () => {
  const notes = [note("Linux", 0x101, pattern(5)), note("GNU", 18, pattern(8)), note("Xen", 6, pattern(3))];
  const entry = note("Xen", 18, littleEndian(0x10_0004, 8));
  const bytes = Uint8Array.from([...notes, entry].flatMap((each) => [...each]));
  const image = elf64([{ type: 4 }, { type: 4, bytes }, code(0x10_0000)]);
  assertEquals(loadPvh(image, machine().request).rip, 0x10_0004);
});

Deno.test("an ELF file without the note, or with a bad one, is refused", () => {
  const kernel = code(0x10_0000);
  const missing = "is an ELF file without a PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY)";
  assertRefused(elf64([kernel]), missing);
  assertRefused(elf64([kernel, { type: 4, bytes: note("Xen", 18, pattern(8)).subarray(0, 20) }]), missing);
  assertRefused(
    elf64([kernel, { type: 4, bytes: note("Xen", 18, pattern(5)) }]),
    "has a PVH entry note of 5 bytes; 4 or 8 were expected",
  );
  assertRefused(
    elf64([kernel, { type: 4, bytes: note("Xen", 18, littleEndian(2 ** 32, 8)) }]),
    "has a PVH entry point above 4 GiB",
  );
  assertRefused(
    elf64([kernel, pvhNote(0x10_0100)]),
    "has its PVH entry point 0x100100 outside of what it loads",
  );
});

Deno.test("segments that lie outside the file, or of usable RAM, are refused", () => {
  const entry = pvhNote(0x10_0000);
  const cases: [segment: TestSegment, message: string][] = [
    [
      code(0x10_0000, 0x100, { offset: 0x1000n }),
      "has ELF segment 0 at file offset 0x1000 with 0x100 bytes, outside the file",
    ],
    [
      code(0x10_0000, 0x100, { offset: 0xffff_ffff_ffff_ff80n }),
      "has ELF segment 0 at file offset 0x20000000000000 with 0x100 bytes, outside the file",
    ],
    [code(0x10_0000, 0x100, { memorySize: 0x80n }), "has ELF segment 0 with more bytes in the file than in memory"],
    [code(0x1000), "loads at 0x1000-0x10ff, which is not usable RAM of this machine"],
    [code(0x9_ff00), "loads at 0x9ff00-0x9ffff, which is not usable RAM of this machine"],
    [code(0x7f_ff80), "loads at 0x7fff80-0x80007f, which is not usable RAM of this machine"],
    [code(0x1_0000_0000), "loads at 0x100000000-0x1000000ff, which is not usable RAM of this machine"],
    [
      code(0x10_0000, 0x100, { memorySize: 0x1_0000_0000n }),
      "loads at 0x100000-0x1000fffff, which is not usable RAM of this machine",
    ],
  ];
  for (const [segment, message] of cases) assertRefused(elf64([segment, entry]), message);
});

Deno.test("addresses and sizes that wrap around 64 bits are refused", () => {
  const wrapping: Partial<TestSegment>[] = [
    { physical: 0xffff_ffff_ffff_f000n, memorySize: 0x2000n },
    { memorySize: 0xffff_ffff_fff0_0100n },
    { offset: 0xffff_ffff_ffff_ff00n, fileSize: 0x200n },
    { fileSize: 0xffff_ffff_ffff_ffffn, memorySize: 0xffff_ffff_ffff_ffffn },
  ];
  for (const fields of wrapping) {
    const image = elf64([code(0x10_0000, 0x100, fields), pvhNote(0x10_0000)]);
    assertThrows(() => loadPvh(image, machine().request), BootImageError);
  }
});

Deno.test("overlapping segments are refused before anything is written", () => {
  const { ram, request } = machine();
  const image = elf64([code(0x10_0000), code(0x10_00ff), pvhNote(0x10_0000)]);
  assertRefused(image, "has overlapping segments at 0x100000-0x1000ff and 0x1000ff-0x1001fe", request);
  assertEquals(ram.some((byte) => byte !== 0), false);
});

Deno.test("ELF headers that no x86 kernel has are refused", () => {
  const cases: [at: number, value: number, message: string][] = [
    [4, 3, "is an ELF file of unknown class 3"],
    [5, 2, "is not a little-endian ELF file"],
    [16, 1, "is an ELF file of type 1, not an executable"],
    [18, 183, "is an ELF file for machine 183, not for x86"],
    [54, 57, "has ELF program headers of 57 bytes"],
    [56, 200, "has 200 ELF program headers; 128 is the limit"],
    [56, 100, "has ELF program headers outside the file"],
    [39, 0x80, "has ELF program headers outside the file"],
  ];
  for (const [at, value, message] of cases) {
    const image = elf64([code(0x10_0000), pvhNote(0x10_0000)]);
    image[at] = value;
    assertRefused(image, message);
  }
  assertRefused(elf64([]).subarray(0, 4), "is an ELF file that ends inside its header");
  assertRefused(elf64([]).subarray(0, 63), "is an ELF file that ends inside its header");
});

Deno.test("an initrd or command line that does not fit is refused", () => {
  const { ram, request } = machine();
  const image = elf64([code(0x10_0000), pvhNote(0x10_0000)]);
  const initrd = new Uint8Array(ram.length);
  assertRefused(image, `does not fit into RAM together with its initrd of ${ram.length} bytes`, { ...request, initrd });
  assertRefused(image, "takes a command line of at most 65535 bytes, and this one has 65536", {
    ...request,
    commandLine: "x".repeat(65536),
  });
  assertRefused(image, "cannot be given a command line with a NUL in it", { ...request, commandLine: "a\0b" });
  const e820 = Array.from({ length: 200 }, (_, index) => ({
    base: 0x10_0000 + index * 0x1000,
    size: 0x1000,
    type: E820Type.USABLE,
  }));
  assertRefused(image, "cannot be told of 200 memory ranges", { ...request, e820 });
});
