/** Mechanism #1 and ECAM (PCI 3.0, section 3.2.2.3.2; PCI Express 2.1, section 7.2.2). */
import { assertEquals } from "@std/assert";
import { configAddress, createChipset } from "../support/q35.ts";

const ADDRESS = 0xcf8;
const DATA = 0xcfc;

/** A chipset with a function at 03.0 whose registers hold their own offsets. */
function withRecorder() {
  const chipset = createChipset();
  const writes: string[] = [];
  chipset.pci.attach({ slot: 3, fn: 0 }, {
    readConfig: (offset, size) => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 0x100 + offset + i;
      return value;
    },
    writeConfig: (offset, size, value) => {
      writes.push(`${size}@${offset.toString(16)}=${value.toString(16)}`);
    },
  });
  return { ...chipset, writes };
}

Deno.test("a 4-byte write to CONFIG_ADDRESS can be read back without the reserved bits", () => {
  const { ports } = createChipset();
  ports.write(ADDRESS, 4, 0xffffffff);
  assertEquals(ports.read(ADDRESS, 4), 0x80fffffc);
});

Deno.test("narrower writes at CONFIG_ADDRESS leave it alone", () => {
  const { ports } = createChipset();
  ports.write(ADDRESS, 4, 0x80001804);
  ports.write(ADDRESS, 1, 0xff);
  ports.write(ADDRESS, 2, 0xffff);
  ports.write(ADDRESS + 2, 2, 0xffff);
  ports.write(ADDRESS + 3, 1, 0);
  assertEquals(ports.read(ADDRESS, 4), 0x80001804);
});

Deno.test("narrower reads at CONFIG_ADDRESS find nothing", () => {
  const { ports } = createChipset();
  ports.write(ADDRESS, 4, 0x80000000);
  assertEquals([ports.read(ADDRESS, 1), ports.read(ADDRESS, 2), ports.read(ADDRESS + 2, 2)], [0xff, 0xffff, 0xffff]);
});

Deno.test("the byte at 0xcf9 is the reset control register, not part of CONFIG_ADDRESS", () => {
  const { ports, host } = createChipset();
  ports.write(ADDRESS, 4, 0x80000600);
  assertEquals(host.resets, 0);
  ports.write(0xcf9, 1, 0x02);
  assertEquals([ports.read(0xcf9, 1), ports.read(ADDRESS, 4)], [0x02, 0x80000600]);
});

Deno.test("CONFIG_DATA reads bytes, words and a dword of the addressed register", () => {
  const { ports } = withRecorder();
  ports.write(ADDRESS, 4, configAddress(3, 0, 0x40));
  assertEquals([0, 1, 2, 3].map((i) => ports.read(DATA + i, 1)), [0x40, 0x41, 0x42, 0x43]);
  assertEquals([ports.read(DATA, 2), ports.read(DATA + 1, 2), ports.read(DATA + 2, 2)], [0x4140, 0x4241, 0x4342]);
  assertEquals(ports.read(DATA, 4), 0x43424140);
});

Deno.test("CONFIG_DATA writes have the width and place of the port access", () => {
  const { ports, writes } = withRecorder();
  ports.write(ADDRESS, 4, configAddress(3, 0, 0x3c));
  ports.write(DATA, 4, 0xdeadbeef);
  ports.write(DATA + 2, 2, 0x1234);
  ports.write(DATA + 3, 1, 0x56);
  assertEquals(writes, ["4@3c=deadbeef", "2@3e=1234", "1@3f=56"]);
});

Deno.test("without the enable bit CONFIG_DATA reads all-ones and drops writes", () => {
  const { ports, writes } = withRecorder();
  ports.write(ADDRESS, 4, configAddress(3, 0, 0) & 0x7fffffff);
  ports.write(DATA, 4, 1);
  assertEquals([ports.read(DATA, 4), ports.read(DATA, 1)], [0xffffffff, 0xff]);
  assertEquals(writes, []);
});

Deno.test("functions and buses that are not there read as all-ones through CONFIG_DATA", () => {
  const { ports } = withRecorder();
  for (const address of [configAddress(3, 1, 0), configAddress(4, 0, 0), configAddress(3, 0, 0, 1)]) {
    ports.write(ADDRESS, 4, address);
    assertEquals(ports.read(DATA, 4), 0xffffffff);
  }
});

Deno.test("a dword read at 0xcfd stays within CONFIG_DATA's ports", () => {
  const { ports } = withRecorder();
  ports.write(ADDRESS, 4, configAddress(3, 0, 0x40));
  assertEquals(ports.read(DATA + 1, 4), 0xff434241);
});

Deno.test("CONFIG_ADDRESS is 0 after a reset", () => {
  const { ports, reset } = createChipset();
  ports.write(ADDRESS, 4, 0x80000000);
  reset();
  assertEquals(ports.read(ADDRESS, 4), 0);
});

/** Programs PCIEXBAR by mechanism #1. */
function setPciexbar({ ports }: ReturnType<typeof createChipset>, high: number, low: number): void {
  ports.write(ADDRESS, 4, configAddress(0, 0, 0x64));
  ports.write(DATA, 4, high);
  ports.write(ADDRESS, 4, configAddress(0, 0, 0x60));
  ports.write(DATA, 4, low);
}

const HOST_BRIDGE_ID = 0x29c08086;

Deno.test("ECAM is off until PCIEXBAR enables it", () => {
  const chipset = createChipset();
  assertEquals(chipset.memory.read(0xb0000000, 4), 0xffffffff);
  setPciexbar(chipset, 0, 0xb0000001);
  assertEquals(chipset.memory.read(0xb0000000, 4), HOST_BRIDGE_ID);
});

Deno.test("ECAM moves with PCIEXBAR", () => {
  const chipset = createChipset();
  setPciexbar(chipset, 0, 0xb0000001);
  setPciexbar(chipset, 0, 0xe0000001);
  assertEquals(chipset.memory.read(0xb0000000, 4), 0xffffffff);
  assertEquals(chipset.memory.read(0xe0000000, 4), HOST_BRIDGE_ID);
  setPciexbar(chipset, 0, 0xe0000000);
  assertEquals(chipset.memory.read(0xe0000000, 4), 0xffffffff);
});

Deno.test("ECAM can lie above 4 GiB, up to address bit 35", () => {
  const chipset = createChipset();
  setPciexbar(chipset, 0xff, 0xc0000001);
  assertEquals(chipset.memory.read(0xf_c000_0000, 4), HOST_BRIDGE_ID);
});

for (const [bits, length, alignment] of [[0, 256, 256], [2, 128, 128], [4, 64, 64]]) {
  Deno.test(`PCIEXBAR length encoding ${bits >> 1} is ${length} MiB, aligned to as much`, () => {
    const { hostBridge } = createChipset();
    hostBridge.writeConfig(0x60, 4, 0xfc000001 | bits);
    const mib = 0x100000;
    const base = Math.floor(0xfc000000 / (alignment * mib)) * alignment * mib;
    assertEquals(hostBridge.ecamRange(), { base, length: length * mib });
    assertEquals(hostBridge.readConfig(0x60, 4), base + bits + 1);
  });
}

Deno.test("PCIEXBAR's reserved length decodes nothing", () => {
  const { hostBridge } = createChipset();
  hostBridge.writeConfig(0x60, 4, 0xb0000007);
  assertEquals(hostBridge.ecamRange(), undefined);
});

Deno.test("ECAM addresses bus, slot, function and register", () => {
  const chipset = withRecorder();
  setPciexbar(chipset, 0, 0xb0000001);
  const at = (bus: number, slot: number, fn: number, register: number) =>
    0xb0000000 + bus * 0x100000 + slot * 0x8000 + fn * 0x1000 + register;
  assertEquals(chipset.memory.read(at(0, 3, 0, 0x40), 2), 0x4140);
  assertEquals(chipset.memory.read(at(0, 31, 0, 0), 4), 0x29188086);
  assertEquals(chipset.memory.read(at(0, 3, 1, 0), 4), 0xffffffff);
  assertEquals(chipset.memory.read(at(1, 3, 0, 0), 4), 0xffffffff);
  assertEquals(chipset.memory.read(at(0, 3, 0, 0x100), 4), 0xffffffff);
  assertEquals(chipset.memory.read(at(255, 31, 7, 0xffc), 4), 0xffffffff);
  chipset.memory.write(at(0, 3, 0, 0x10), 4, 0xfebf0000);
  chipset.memory.write(at(0, 3, 0, 0xff0), 4, 1);
  assertEquals(chipset.writes, ["4@10=febf0000"]);
});
