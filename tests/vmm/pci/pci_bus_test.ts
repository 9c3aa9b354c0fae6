import { assertEquals, assertThrows } from "@std/assert";
import { formatPciAddress, parsePciAddress, PciBus, type PciFunction } from "../../../src/vmm/pci/pci_bus.ts";

function recording() {
  const accesses: string[] = [];
  const pciFunction: PciFunction = {
    readConfig: (offset, size) => {
      accesses.push(`r${size}@${offset.toString(16)}`);
      return 0x12;
    },
    writeConfig: (offset, size, value) => {
      accesses.push(`w${size}@${offset.toString(16)}=${value.toString(16)}`);
    },
  };
  return { pciFunction, accesses };
}

Deno.test("addr= is hexadecimal slot and optional function, as QEMU has it", () => {
  for (
    const [text, slot, fn] of [["5", 5, 0], ["05.0", 5, 0], ["0x1f", 31, 0], ["1f.2", 31, 2], ["10.7", 16, 7]] as const
  ) {
    assertEquals(parsePciAddress(text), { slot, fn });
  }
});

Deno.test("addr= that names no slot or function is refused with its text", () => {
  for (const text of ["", "20", "1f.8", "5.", ".1", "5.0.0", "-1", "xyz", "0x", "005", " 5", "5 "]) {
    assertThrows(() => parsePciAddress(text), RangeError, `"${text}"`);
  }
});

Deno.test("an address is written as lspci writes it", () => {
  assertEquals(formatPciAddress({ slot: 0x1f, fn: 3 }), "1f.3");
  assertEquals(formatPciAddress({ slot: 5, fn: 0 }), "05.0");
});

Deno.test("configuration accesses reach the function at their device number", () => {
  const bus = new PciBus();
  const { pciFunction, accesses } = recording();
  bus.attach({ slot: 3, fn: 1 }, pciFunction);
  assertEquals(bus.read(0, 3 * 8 + 1, 0x10, 4), 0x12);
  bus.write(0, 3 * 8 + 1, 0xff, 1, 0xab);
  assertEquals(accesses, ["r4@10", "w1@ff=ab"]);
});

Deno.test("an absent function reads as all-ones and ignores writes", () => {
  const bus = new PciBus();
  bus.write(0, 8, 0, 4, 0);
  assertEquals([1, 2, 4].map((size) => bus.read(0, 8, 0, size)), [0xff, 0xffff, 0xffffffff]);
});

Deno.test("no bus but 0 has any functions", () => {
  const bus = new PciBus();
  const { pciFunction, accesses } = recording();
  bus.attach({ slot: 1, fn: 0 }, pciFunction);
  assertEquals(bus.read(1, 8, 0, 4), 0xffffffff);
  bus.write(255, 8, 0, 4, 0);
  assertEquals(accesses, []);
});

Deno.test("extended configuration space of a conventional function reads as all-ones", () => {
  const bus = new PciBus();
  const { pciFunction, accesses } = recording();
  bus.attach({ slot: 1, fn: 0 }, pciFunction);
  assertEquals(bus.read(0, 8, 0x100, 4), 0xffffffff);
  assertEquals(bus.read(0, 8, 0xfe, 4), 0xffffffff);
  bus.write(0, 8, 0xffc, 4, 0);
  assertEquals(accesses, []);
});

Deno.test("the first free slot is the lowest from 1 without any function", () => {
  const bus = new PciBus();
  const { pciFunction } = recording();
  assertEquals(bus.freeSlot(), 1);
  bus.attach({ slot: 1, fn: 0 }, pciFunction);
  bus.attach({ slot: 2, fn: 7 }, pciFunction);
  assertEquals(bus.freeSlot(), 3);
  bus.detach({ slot: 1, fn: 0 });
  assertEquals(bus.freeSlot(), 1);
});

Deno.test("a full bus has no free slot", () => {
  const bus = new PciBus();
  for (let slot = 1; slot < 32; slot++) bus.attach({ slot, fn: 0 }, recording().pciFunction);
  assertEquals(bus.freeSlot(), undefined);
});

Deno.test("a taken or impossible address is refused", () => {
  const bus = new PciBus();
  bus.attach({ slot: 4, fn: 0 }, recording().pciFunction);
  assertThrows(() => bus.attach({ slot: 4, fn: 0 }, recording().pciFunction), RangeError, "04.0 is taken");
  for (const address of [{ slot: 32, fn: 0 }, { slot: 1, fn: 8 }, { slot: -1, fn: 0 }, { slot: 1.5, fn: 0 }]) {
    assertThrows(() => bus.attach(address, recording().pciFunction), RangeError, "no PCI slot");
  }
});
