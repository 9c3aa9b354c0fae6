/** The ACPI tables as an operating system reads them, against the ACPI Specification 6.5. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type AcpiMachine, buildAcpi, placeAcpi } from "../../../src/vmm/acpi/acpi.ts";
import { highPciWindow, wiredPirq } from "../../../src/vmm/acpi/dsdt_pci.ts";
import { acpiFiles } from "../../../src/vmm/acpi/table_loader.ts";
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import { createChipset } from "../support/q35.ts";

const MACHINE: AcpiMachine = {
  cpus: 2,
  ram: { low: 0x1000_0000, high: 0 },
  physicalAddressBits: 40,
  serialPorts: [{ port: 0x3f8, irq: 4 }],
};

/** RAM below 1 MiB with the tables in it, and how an operating system finds its way. */
function createGuest(machine: AcpiMachine = MACHINE) {
  const ram = new Uint8Array(0x10_0000);
  const memory = new GuestMemory([{ gpa: 0, bytes: ram }]);
  const placed = placeAcpi(buildAcpi(machine));
  for (const { gpa, bytes } of placed.regions) assertEquals(memory.write(gpa, bytes), true);
  return readTables(ram, placed.rsdpAddress, placed);
}

function readTables<T>(ram: Uint8Array, rsdpAddress: number, extra: T) {
  const view = new DataView(ram.buffer);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  const text = (at: number, length: number) => new TextDecoder().decode(ram.slice(at, at + length));
  const sum = (at: number, length: number) => ram.slice(at, at + length).reduce((a, b) => a + b, 0) & 0xff;
  const entries = (root: number, size: 4 | 8) =>
    Array.from({ length: (u32(root + 4) - 36) / size }, (_, i) => (size === 4 ? u32 : u64)(root + 36 + i * size));
  const rsdt = u32(rsdpAddress + 16);
  const xsdt = u64(rsdpAddress + 24);
  const tables = new Map(entries(xsdt, 8).map((at) => [text(at, 4), at]));
  return { ram, view, u32, u64, text, sum, entries, rsdt, xsdt, tables, rsdpAddress, ...extra };
}

/** The MADT's structures: type and contents after the length. */
function madtStructures({ ram, u32, tables }: ReturnType<typeof createGuest>): { type: number; data: number[] }[] {
  const at = tables.get("APIC")!;
  const structures = [];
  for (let i = at + 44; i < at + u32(at + 4); i += ram[i + 1]) {
    structures.push({ type: ram[i], data: [...ram.slice(i + 2, i + ram[i + 1])] });
  }
  return structures;
}

Deno.test("the RSDP is found between 0xe0000 and 1 MiB at a multiple of 16, with both checksums right", () => {
  const { ram, text, sum, rsdpAddress, u32 } = createGuest();
  const found = [];
  for (let at = 0xe_0000; at < 0x10_0000; at += 16) if (text(at, 8) === "RSD PTR ") found.push(at);
  assertEquals(found, [rsdpAddress]);
  assertEquals([ram[rsdpAddress + 15], u32(rsdpAddress + 20)], [2, 36]);
  assertEquals([sum(rsdpAddress, 20), sum(rsdpAddress, 36)], [0, 0]);
});

Deno.test("RSDT and XSDT name the same tables, and every checksum is right", () => {
  const { u32, u64, text, sum, entries, rsdt, xsdt, tables } = createGuest();
  assertEquals([text(rsdt, 4), text(xsdt, 4)], ["RSDT", "XSDT"]);
  assertEquals(entries(rsdt, 4), entries(xsdt, 8));
  assertEquals([...tables.keys()], ["FACP", "APIC", "MCFG", "WAET"]);
  const dsdt = u64(tables.get("FACP")! + 140);
  for (const at of [rsdt, xsdt, dsdt, ...tables.values()]) assertEquals(sum(at, u32(at + 4)), 0, text(at, 4));
});

Deno.test("the FADT names DSDT and FACS, the FACS at a multiple of 64 and without a second pointer", () => {
  const { u32, u64, text, tables } = createGuest();
  const fadt = tables.get("FACP")!;
  assertEquals([text(u32(fadt + 40), 4), u64(fadt + 140)], ["DSDT", u32(fadt + 40)]);
  const facs = u32(fadt + 36);
  assertEquals([text(facs, 4), u32(facs + 4), facs % 64, u64(fadt + 132)], ["FACS", 64, 0, 0]);
});

Deno.test("the FADT describes the ICH9's power management block at 0x600", () => {
  const { ram, view, u32, tables } = createGuest();
  const fadt = tables.get("FACP")!;
  assertEquals(view.getUint16(fadt + 46, true), 9);
  assertEquals([u32(fadt + 48), ram[fadt + 52], ram[fadt + 53]], [0xb2, 2, 3]);
  assertEquals([56, 64, 76, 80].map((at) => u32(fadt + at)), [0x600, 0x604, 0x608, 0x620]);
  assertEquals([88, 89, 91, 92].map((at) => ram[fadt + at]), [4, 2, 4, 16]);
  const extended = [148, 172, 208, 220].map((at) => [ram[fadt + at], ram[fadt + at + 1], u32(fadt + at + 4)]);
  assertEquals(extended, [[1, 32, 0x600], [1, 16, 0x604], [1, 32, 0x608], [1, 128, 0x620]]);
});

Deno.test("the FADT's reset register is port 0xcf9, value 6", () => {
  const { ram, u32, u64, tables } = createGuest();
  const fadt = tables.get("FACP")!;
  assertEquals([...ram.slice(fadt + 116, fadt + 118)], [1, 8]);
  assertEquals([u64(fadt + 120), ram[fadt + 128]], [0xcf9, 0x06]);
  assertEquals(u32(fadt + 112) & 1 << 10, 1 << 10);
});

Deno.test("the FADT says what there is: power button yes; keyboard and VGA as configured", () => {
  const bootFlags = (machine: AcpiMachine) => {
    const { view, tables } = createGuest(machine);
    return view.getUint16(tables.get("FACP")! + 109, true);
  };
  assertEquals(bootFlags(MACHINE), 0b101);
  assertEquals(bootFlags({ ...MACHINE, keyboard: true, vga: true }), 0b011);
  const { u32, tables } = createGuest();
  assertEquals(u32(tables.get("FACP")! + 112) & (1 << 4 | 1 << 5), 1 << 5);
});

Deno.test("the MADT has a local APIC for each CPU and the IOAPIC", () => {
  const guest = createGuest({ ...MACHINE, cpus: 3 });
  const structures = madtStructures(guest);
  assertEquals(structures.filter(({ type }) => type === 0).map(({ data }) => data), [
    [0, 0, 1, 0, 0, 0],
    [1, 1, 1, 0, 0, 0],
    [2, 2, 1, 0, 0, 0],
  ]);
  assertEquals(structures.find(({ type }) => type === 1)!.data, [0, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0]);
  const madt = guest.tables.get("APIC")!;
  assertEquals([guest.u32(madt + 36), guest.u32(madt + 40)], [0xfee0_0000, 1]);
});

Deno.test("the MADT routes the timer to input 2, and IRQs 5, 9, 10 and 11 are level-triggered, active high", () => {
  const overrides = madtStructures(createGuest()).filter(({ type }) => type === 2).map(({ data }) => data);
  assertEquals(overrides, [
    [0, 0, 2, 0, 0, 0, 0, 0],
    ...[5, 9, 10, 11].map((irq) => [0, irq, irq, 0, 0, 0, 0x0d, 0]),
  ]);
});

Deno.test("the MADT connects NMI to LINT1 of all processors", () => {
  assertEquals(madtStructures(createGuest()).find(({ type }) => type === 4)!.data, [0xff, 0, 0, 1]);
});

Deno.test("the MCFG maps buses 0 to 255 at 0xb0000000", () => {
  const { ram, u32, u64, tables } = createGuest();
  const mcfg = tables.get("MCFG")!;
  assertEquals([u32(mcfg + 4), u64(mcfg + 44), ...ram.slice(mcfg + 52, mcfg + 56)], [60, 0xb000_0000, 0, 0, 0, 255]);
});

Deno.test("interrupt pins are wired as the LPC bridge has them after reset", () => {
  const { lpc } = createChipset();
  for (let slot = 0; slot < 32; slot++) {
    for (let pin = 0; pin < 4; pin++) assertEquals(wiredPirq(slot, pin), lpc.pirqOf({ slot, pin }), `${slot}.${pin}`);
  }
});

Deno.test("PCI memory above RAM begins at a whole GiB and ends with the address space", () => {
  const high = (ram: { low: number; high: number }, physicalAddressBits: number) =>
    highPciWindow({ ...MACHINE, ram, physicalAddressBits });
  assertEquals(high({ low: 0x1000_0000, high: 0 }, 40), { first: 2 ** 32, last: 2 ** 40 - 1 });
  assertEquals(high({ low: 0x8000_0000, high: 0x1230_0000 }, 40), { first: 0x1_4000_0000, last: 2 ** 40 - 1 });
  assertEquals(high({ low: 0x1000_0000, high: 0 }, 52), { first: 2 ** 32, last: 2 ** 46 - 1 });
  assertEquals(high({ low: 0x1000_0000, high: 0 }, 32), undefined);
});

Deno.test("1 to 255 CPUs are described, and no others", () => {
  for (const cpus of [1, 255]) {
    const structures = madtStructures(createGuest({ ...MACHINE, cpus }));
    assertEquals(structures.filter(({ type }) => type === 0).length, cpus);
  }
  for (const cpus of [0, 256, 1.5]) assertThrows(() => buildAcpi({ ...MACHINE, cpus }), RangeError);
});

/** SMBIOS has the segment from here on. */
const BIOS_SEGMENT = 0xf_0000;

Deno.test("placed tables say which pages they take, below the BIOS's segment", () => {
  for (const cpus of [2, 255]) {
    const { base, size, regions } = placeAcpi(buildAcpi({ ...MACHINE, cpus }));
    assertEquals([base % 0x1000, size % 0x1000], [0, 0]);
    for (const { gpa, bytes } of regions) {
      assertEquals(gpa >= base && gpa + bytes.length <= base + size && base + size <= BIOS_SEGMENT, true);
    }
  }
});

Deno.test("the host bridge's windows below 4 GiB are where memory types say that devices are", () => {
  const { ram, u32, u64, tables } = createGuest();
  const dsdt = u64(tables.get("FACP")! + 140);
  const windows = [];
  for (let at = dsdt; at < dsdt + u32(dsdt + 4); at++) {
    // DWordMemory: tag 0x87, 23 bytes, resource type 0 (section 6.4.3.5.2); minimum and maximum at 10 and 14.
    if (ram[at] !== 0x87 || ram[at + 1] !== 23 || ram[at + 2] !== 0 || ram[at + 3] !== 0) continue;
    windows.push([u32(at + 10), u32(at + 14)]);
  }
  assertEquals(windows, [[0xa_0000, 0xb_ffff], [0xc000_0000, 0xfebf_ffff]]);
});

const FILE_SIZE = 56;

/** Firmware's side of the table loader, as QEMU's hw/acpi/bios-linker-loader.c documents the commands. */
function runLoader(files: ReadonlyMap<string, Uint8Array>, addresses: ReadonlyMap<string, number>, ram: Uint8Array) {
  const script = files.get("etc/table-loader")!.slice();
  const view = new DataView(script.buffer);
  const memory = new DataView(ram.buffer);
  const name = (at: number) => new TextDecoder().decode(script.slice(at, at + FILE_SIZE)).replace(/\0+$/, "");
  assertEquals(script.length % 128, 0);
  for (let at = 0; at < script.length; at += 128) {
    const [code, base] = [view.getUint32(at, true), addresses.get(name(at + 4))!];
    if (code === 1) {
      assertEquals(base % view.getUint32(at + 60, true), 0);
      ram.set(files.get(name(at + 4))!, base);
    } else if (code === 2) {
      const target = addresses.get(name(at + 60))!;
      const place = base + view.getUint32(at + 116, true);
      if (script[at + 120] === 4) memory.setUint32(place, memory.getUint32(place, true) + target, true);
      else memory.setBigUint64(place, memory.getBigUint64(place, true) + BigInt(target), true);
    } else {
      assertEquals(code, 3);
      const [offset, start, length] = [60, 64, 68].map((field) => view.getUint32(at + field, true));
      const range = ram.subarray(base + start, base + start + length);
      ram[base + offset] -= range.reduce((sum, byte) => sum + byte, 0);
    }
  }
}

Deno.test("firmware that follows the loader script gets the tables that direct boot gets", () => {
  const image = buildAcpi(MACHINE);
  const direct = createGuest();
  const tablesAddress = placeAcpi(image).regions[1].gpa;
  const ram = new Uint8Array(0x10_0000);
  const addresses = new Map([["etc/acpi/tables", tablesAddress], ["etc/acpi/rsdp", direct.rsdpAddress]]);
  runLoader(acpiFiles(image), addresses, ram);
  assertEquals(ram, direct.ram);
});

Deno.test("wherever firmware puts the tables, their pointers and checksums are right", () => {
  const image = buildAcpi(MACHINE);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0x700 }), (block) => {
      const ram = new Uint8Array(0x4_0000);
      runLoader(acpiFiles(image), new Map([["etc/acpi/tables", block * 64], ["etc/acpi/rsdp", 0x3_0000]]), ram);
      const { u32, sum, tables, rsdt, xsdt } = readTables(ram, 0x3_0000, {});
      assertEquals([...tables.keys()], ["FACP", "APIC", "MCFG", "WAET"]);
      for (const at of [rsdt, xsdt, ...tables.values()]) assertEquals(sum(at, u32(at + 4)), 0);
    }),
    { numRuns: 20 },
  );
});

Deno.test("the loader allocates the RSDP in the F segment and the tables below 4 GiB", () => {
  const script = acpiFiles(buildAcpi(MACHINE)).get("etc/table-loader")!;
  const allocations = [0, 128].map((at) => [
    script[at],
    new TextDecoder().decode(script.slice(at + 4, at + 60)).replace(/\0+$/, ""),
    new DataView(script.buffer, script.byteOffset).getUint32(at + 60, true),
    script[at + 64],
  ]);
  assertEquals(allocations, [[1, "etc/acpi/rsdp", 16, 2], [1, "etc/acpi/tables", 64, 1]]);
});
