import { assertEquals } from "@std/assert";
import { assignRange, type E820Entry, E820Type, encodeE820, firmwareE820, kernelE820 } from "../../src/vmm/e820.ts";

const GIB = 0x4000_0000;
const MIB = 0x10_0000;

function assertOrdered(entries: readonly E820Entry[]): void {
  let end = 0;
  for (const { base, size } of entries) {
    assertEquals(size > 0 && base >= end, true, `0x${base.toString(16)} after 0x${end.toString(16)}`);
    end = base + size;
  }
}

Deno.test("firmware is told of all RAM, and of KVM's own pages", () => {
  assertEquals(firmwareE820({ low: 2 * GIB, high: GIB }), [
    { base: 0, size: 2 * GIB, type: E820Type.USABLE },
    { base: 0xfeff_c000, size: 0x4000, type: E820Type.RESERVED },
    { base: 4 * GIB, size: GIB, type: E820Type.USABLE },
  ]);
});

Deno.test("a kernel without firmware is told what firmware would have reserved", () => {
  const entries = kernelE820({ low: 256 * MIB, high: 0 });
  assertOrdered(entries);
  assertEquals(entries.filter(({ type }) => type === E820Type.USABLE), [
    { base: 0, size: 0x9_fc00, type: E820Type.USABLE },
    { base: MIB, size: 255 * MIB, type: E820Type.USABLE },
  ]);
  assertEquals(entries.find(({ base }) => base === 0xb000_0000)?.type, E820Type.RESERVED); // ECAM
  assertEquals(entries.at(-1), { base: 0xfeff_c000, size: 4 * GIB - 0xfeff_c000, type: E820Type.RESERVED });
});

Deno.test("RAM above 4 GiB comes last", () => {
  const entries = kernelE820({ low: 2 * GIB, high: 6 * GIB });
  assertOrdered(entries);
  assertEquals(entries.at(-1), { base: 4 * GIB, size: 6 * GIB, type: E820Type.USABLE });
});

Deno.test("ACPI tables are cut out of the RAM that they lie in", () => {
  const entries = kernelE820({ low: 16 * MIB, high: 0 }, { base: 16 * MIB - 0x4000, size: 0x4000 });
  assertOrdered(entries);
  assertEquals(entries.filter(({ base }) => base >= MIB && base < GIB), [
    { base: MIB, size: 15 * MIB - 0x4000, type: E820Type.USABLE },
    { base: 16 * MIB - 0x4000, size: 0x4000, type: E820Type.ACPI },
  ]);
});

Deno.test("a range in the middle splits what was there, and swallows what it covers", () => {
  const entries = [{ base: 0, size: 10, type: 1 }, { base: 10, size: 2, type: 2 }, { base: 12, size: 8, type: 1 }];
  assertEquals(assignRange(entries, { base: 4, size: 10, type: 3 }), [
    { base: 0, size: 4, type: 1 },
    { base: 4, size: 10, type: 3 },
    { base: 14, size: 6, type: 1 },
  ]);
  assertEquals(assignRange([{ base: 0, size: 9, type: 1 }], { base: 3, size: 3, type: 2 }).length, 3);
});

Deno.test("the packed form has 20 bytes an entry: base, size, type", () => {
  assertEquals([...encodeE820([{ base: 4 * GIB, size: 0x1234, type: 2 }])], [
    ...[0, 0, 0, 0, 1, 0, 0, 0],
    ...[0x34, 0x12, 0, 0, 0, 0, 0, 0],
    ...[2, 0, 0, 0],
  ]);
});
