import { assert, assertEquals, assertThrows } from "@std/assert";
import { PciCommand, PciConfig, PciStatus } from "../../src/device/config_space.ts";
import { GuestMemory } from "../../src/device/guest_memory.ts";
import type { Clock, Timer } from "../../src/device/pci_device.ts";
import { PciHost } from "../../src/remote/pci_host.ts";
import { TestBar, TestDevice, TestDeviceId, TestRegister } from "../support/test_device.ts";

const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf0000;
const RAM_BASE = 0x10000;

const clock: Clock = {
  now: () => 0,
  timer: (): Timer => ({ arm() {}, cancel() {}, deadline: undefined }),
};

function fixture(command = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER) {
  const levels: boolean[] = [];
  const log: string[] = [];
  const ram = new Uint8Array(0x1000);
  const host = new PciHost({
    memory: new GuestMemory([{ gpa: RAM_BASE, bytes: ram }]),
    line: { set: (level) => void levels.push(level) },
    clock,
    log: (line) => void log.push(line),
  });
  const device = new TestDevice(host);
  host.attach(device);
  host.writeConfig(PciConfig.BAR0, 4, IO_BASE);
  host.writeConfig(PciConfig.BAR0 + 4, 4, MEMORY_BASE);
  host.writeConfig(PciConfig.COMMAND, 2, command);
  const read = (address: number, size: number, memory = true) => {
    const value = { low: 0, high: 0 };
    return host.readBar(address, size, memory, value) ? [value.low, value.high] : value;
  };
  return { host, device, ram, log, read, level: () => levels.at(-1) };
}

const REFUSED = { low: 0xffffffff, high: 0xffffffff };

Deno.test("a configuration access of 1, 2 or 4 bytes is served wherever it fits", () => {
  const { host } = fixture();
  assertEquals(host.readConfig(0, 4), TestDeviceId.DEVICE * 0x10000 + TestDeviceId.VENDOR);
  assertEquals(host.readConfig(1, 2), ((TestDeviceId.DEVICE & 0xff) << 8) | (TestDeviceId.VENDOR >> 8));
  for (const [offset, size] of [[0xff, 1], [0xfd, 1], [0xfd, 2], [0xfe, 2], [0xfc, 4], [0xf9, 4]]) {
    assertEquals(host.readConfig(offset, size), 0);
    assert(host.writeConfig(offset, size, 0));
  }
});

Deno.test("a configuration access that reaches beyond 256 bytes is refused", () => {
  const { host } = fixture();
  for (const [offset, size] of [[0xff, 2], [0xfd, 4], [0x100, 1], [0xffffffff, 4]]) {
    assertEquals(host.readConfig(offset, size), undefined);
    assertEquals(host.writeConfig(offset, size, 0xffffffff), false);
  }
});

Deno.test("a BAR sizes correctly before anything is enabled", () => {
  const { host } = fixture(0);
  for (const [index, size] of [[TestBar.IO, TestBar.IO_SIZE], [TestBar.MEMORY, TestBar.MEMORY_SIZE]]) {
    const at = PciConfig.BAR0 + 4 * index;
    host.writeConfig(at, 4, 0xffffffff);
    assertEquals((~(host.readConfig(at, 4)! & ~0xf) + 1) >>> 0, size);
  }
});

Deno.test("addresses are decoded to a BAR and an offset, in each space of its own", () => {
  const { host, device, read } = fixture();
  host.writeBar(IO_BASE + 0x10, 1, false, 0xab, 0);
  host.writeBar(MEMORY_BASE + 0x14, 4, true, 0x12345678, 0);
  assertEquals(read(IO_BASE + 0x10, 1, false), [0xab, 0]);
  assertEquals(read(MEMORY_BASE + 0x16, 2), [0x1234, 0]);
  assertEquals(device.seen, [
    ["write", TestBar.IO, 0x10, 1, 0xab],
    ["write", TestBar.MEMORY, 0x14, 4, 0x12345678],
    ["read", TestBar.IO, 0x10, 1, 0xab],
    ["read", TestBar.MEMORY, 0x16, 2, 0x1234],
  ]);
});

Deno.test("a value is cut to the width of its access", () => {
  const { host, device } = fixture();
  host.writeBar(MEMORY_BASE, 1, true, 0xdeadbeef, 0xffffffff);
  host.writeBar(MEMORY_BASE, 2, true, 0xdeadbeef, 0xffffffff);
  assertEquals(device.seen.map((access) => access[4]), [0xef, 0xbeef]);
});

Deno.test("an access of 8 bytes is two of 4, low half first", () => {
  const { host, device, read } = fixture();
  host.writeBar(MEMORY_BASE + 8, 8, true, 0x89abcdef, 0x81234567);
  assertEquals(read(MEMORY_BASE + 8, 8), [0x89abcdef, 0x81234567]);
  assertEquals(device.seen, [
    ["write", TestBar.MEMORY, 8, 4, 0x89abcdef],
    ["write", TestBar.MEMORY, 12, 4, 0x81234567],
    ["read", TestBar.MEMORY, 8, 4, 0x89abcdef],
    ["read", TestBar.MEMORY, 12, 4, 0x81234567],
  ]);
});

Deno.test("an access that no BAR answers as a whole reads as all-ones and reaches no device", () => {
  const { host, device, read } = fixture();
  const misses: [number, number, boolean][] = [
    [MEMORY_BASE - 1, 1, true],
    [MEMORY_BASE - 2, 4, true],
    [MEMORY_BASE + TestBar.MEMORY_SIZE - 2, 4, true],
    [MEMORY_BASE + TestBar.MEMORY_SIZE - 4, 8, true],
    [MEMORY_BASE + TestBar.MEMORY_SIZE, 1, true],
    [MEMORY_BASE, 4, false],
    [IO_BASE, 4, true],
    [2 ** 64, 8, true],
  ];
  for (const [address, size, memory] of misses) {
    assertEquals(read(address, size, memory), REFUSED);
    assertEquals(host.writeBar(address, size, memory, 0, 0), false);
  }
  assertEquals(device.seen, []);
});

Deno.test("BARs answer where the guest moves them, and while their space is enabled", () => {
  const { host, read } = fixture();
  host.writeConfig(PciConfig.BAR0 + 5, 1, 0x80); // one byte of BAR 1
  assertEquals(read(MEMORY_BASE, 4), REFUSED);
  assertEquals(read(0xfebf8000, 4), [0, 0]);
  host.writeConfig(PciConfig.COMMAND, 1, PciCommand.IO);
  assertEquals(read(0xfebf8000, 4), REFUSED);
  assertEquals(read(IO_BASE, 4, false), [0, 0]);
});

Deno.test("a reset resets the device and takes its BARs off the bus", () => {
  const { host, device, read, level } = fixture();
  host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 1, 0);
  host.reset();
  assertEquals(device.resets, 1);
  assertEquals(read(MEMORY_BASE, 4), REFUSED);
  assertEquals(level(), false);
});

Deno.test("the pin shows in the status register, and on the line unless INTx is disabled", () => {
  const { host, level } = fixture();
  const pending = () => (host.readConfig(PciConfig.STATUS, 2)! & PciStatus.INTERRUPT) !== 0;
  host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 1, 0);
  assertEquals([level(), pending()], [true, true]);
  host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY | PciCommand.INTX_DISABLE);
  assertEquals([level(), pending()], [false, true]);
  host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
  assertEquals([level(), pending()], [true, true]);
  host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 0, 0);
  assertEquals([level(), pending()], [false, false]);
});

Deno.test("DMA works while the guest has bus mastering on, and is refused and warned of once otherwise", () => {
  const { host, ram, log } = fixture();
  ram.fill(0x5a, 0x20, 0x30);
  const bytes = new Uint8Array(16);
  assert(host.dma.read(RAM_BASE + 0x20, bytes));
  assertEquals(bytes, new Uint8Array(16).fill(0x5a));
  host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
  for (let i = 0; i < 3; i++) assert(!host.dma.write(RAM_BASE, bytes));
  assertEquals(ram[0], 0);
  assertEquals(log, ["DMA while the guest has bus mastering off was refused"]);
});

Deno.test("DMA outside RAM is refused and warned of once", () => {
  const { host, log } = fixture();
  for (const address of [0, RAM_BASE - 1, RAM_BASE + 0xfff, 2 ** 53]) {
    assert(!host.dma.read(address, new Uint8Array(2)));
  }
  assertEquals(log, ["DMA outside the guest's RAM was refused"]);
});

Deno.test("a guest that invents ever new warnings is cut short", () => {
  const { host, log } = fixture();
  for (let i = 0; i < 1000; i++) host.warnOnce(`odd ${i}`);
  assertEquals(log.length, 33);
  assertEquals(log.at(-1), "more has been odd; no further warnings");
});

Deno.test("before a device is attached DMA is refused and access is a defect of the caller", () => {
  const host = new PciHost({
    memory: new GuestMemory([{ gpa: 0, bytes: new Uint8Array(16) }]),
    line: { set() {} },
    clock,
    log() {},
  });
  assert(!host.dma.read(0, new Uint8Array(1)));
  assertThrows(() => host.readConfig(0, 1), TypeError);
});
