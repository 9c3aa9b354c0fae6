import { assert, assertEquals, assertThrows } from "@std/assert";
import { PciCommand, PciConfig, PciStatus } from "../../src/device/config_space.ts";
import { GuestMemory } from "../../src/device/guest_memory.ts";
import type { Clock, ShadowedRegisters, Timer } from "../../src/device/pci_device.ts";
import { Space } from "../../src/link/ring/layout.ts";
import { mapShadow } from "../../src/link/ring/memory.ts";
import { MAX_SHADOW_SIZE } from "../../src/link/ring/shadow.ts";
import { PciHost } from "../../src/remote/pci_host.ts";
import { leakingNothing } from "../support/leaks.ts";
import { SHADOWED, TestBar, TestDevice, TestDeviceId, TestRegister } from "../support/test_device.ts";

const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf0000;
const RAM_BASE = 0x10000;

const clock: Clock = {
  now: () => 0,
  timer: (): Timer => ({ arm() {}, cancel() {}, deadline: undefined }),
};

/** What the bodies of tests get. */
type Fixture = ReturnType<typeof fixture>;

/** A host without a device. */
function bareHost({ ram, levels, log }: { ram: Uint8Array; levels: boolean[]; log: string[] }): PciHost {
  return new PciHost({
    memory: new GuestMemory([{ gpa: RAM_BASE, bytes: ram }]),
    line: { set: (level) => void levels.push(level) },
    clock,
    log: (line) => void log.push(line),
  });
}

function fixture(command = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER) {
  const levels: boolean[] = [];
  const log: string[] = [];
  const ram = new Uint8Array(0x1000);
  const host = bareHost({ ram, levels, log });
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

/** A test body that gets a host with its device in place, and leaves nothing of it behind. */
function withHost(body: (fixture: Fixture) => void, command?: number): () => void {
  return leakingNothing(() => {
    const made = fixture(command);
    try {
      body(made);
    } finally {
      made.host.close();
    }
  });
}

const REFUSED = { low: 0xffffffff, high: 0xffffffff };

Deno.test(
  "a configuration access of 1, 2 or 4 bytes is served wherever it fits",
  withHost(({ host }) => {
    assertEquals(host.readConfig(0, 4), TestDeviceId.DEVICE * 0x10000 + TestDeviceId.VENDOR);
    assertEquals(host.readConfig(1, 2), ((TestDeviceId.DEVICE & 0xff) << 8) | (TestDeviceId.VENDOR >> 8));
    for (const [offset, size] of [[0xff, 1], [0xfd, 1], [0xfd, 2], [0xfe, 2], [0xfc, 4], [0xf9, 4]]) {
      assertEquals(host.readConfig(offset, size), 0);
      assert(host.writeConfig(offset, size, 0));
    }
  }),
);

Deno.test(
  "a configuration access that reaches beyond 256 bytes is refused",
  withHost(({ host }) => {
    for (const [offset, size] of [[0xff, 2], [0xfd, 4], [0x100, 1], [0xffffffff, 4]]) {
      assertEquals(host.readConfig(offset, size), undefined);
      assertEquals(host.writeConfig(offset, size, 0xffffffff), false);
    }
  }),
);

Deno.test(
  "a BAR sizes correctly before anything is enabled",
  withHost(({ host }) => {
    for (const [index, size] of [[TestBar.IO, TestBar.IO_SIZE], [TestBar.MEMORY, TestBar.MEMORY_SIZE]]) {
      const at = PciConfig.BAR0 + 4 * index;
      host.writeConfig(at, 4, 0xffffffff);
      assertEquals((~(host.readConfig(at, 4)! & ~0xf) + 1) >>> 0, size);
    }
  }, 0),
);

Deno.test(
  "addresses are decoded to a BAR and an offset, in each space of its own",
  withHost(({ host, device, read }) => {
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
  }),
);

Deno.test(
  "a value is cut to the width of its access",
  withHost(({ host, device }) => {
    host.writeBar(MEMORY_BASE, 1, true, 0xdeadbeef, 0xffffffff);
    host.writeBar(MEMORY_BASE, 2, true, 0xdeadbeef, 0xffffffff);
    assertEquals(device.seen.map((access) => access[4]), [0xef, 0xbeef]);
  }),
);

Deno.test(
  "an access of 8 bytes is two of 4, low half first",
  withHost(({ host, device, read }) => {
    host.writeBar(MEMORY_BASE + 8, 8, true, 0x89abcdef, 0x81234567);
    assertEquals(read(MEMORY_BASE + 8, 8), [0x89abcdef, 0x81234567]);
    assertEquals(device.seen, [
      ["write", TestBar.MEMORY, 8, 4, 0x89abcdef],
      ["write", TestBar.MEMORY, 12, 4, 0x81234567],
      ["read", TestBar.MEMORY, 8, 4, 0x89abcdef],
      ["read", TestBar.MEMORY, 12, 4, 0x81234567],
    ]);
  }),
);

Deno.test(
  "an access that no BAR answers as a whole reads as all-ones and reaches no device",
  withHost(({ host, device, read }) => {
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
  }),
);

Deno.test(
  "BARs answer where the guest moves them, and while their space is enabled",
  withHost(({ host, read }) => {
    host.writeConfig(PciConfig.BAR0 + 5, 1, 0x80); // one byte of BAR 1
    assertEquals(read(MEMORY_BASE, 4), REFUSED);
    assertEquals(read(0xfebf8000, 4), [0, 0]);
    host.writeConfig(PciConfig.COMMAND, 1, PciCommand.IO);
    assertEquals(read(0xfebf8000, 4), REFUSED);
    assertEquals(read(IO_BASE, 4, false), [0, 0]);
  }),
);

Deno.test(
  "a reset resets the device and takes its BARs off the bus",
  withHost(({ host, device, read, level }) => {
    host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 1, 0);
    host.reset();
    assertEquals(device.resets, 1);
    assertEquals(read(MEMORY_BASE, 4), REFUSED);
    assertEquals(level(), false);
  }),
);

Deno.test(
  "the pin shows in the status register, and on the line unless INTx is disabled",
  withHost(({ host, level }) => {
    const pending = () => (host.readConfig(PciConfig.STATUS, 2)! & PciStatus.INTERRUPT) !== 0;
    host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 1, 0);
    assertEquals([level(), pending()], [true, true]);
    host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY | PciCommand.INTX_DISABLE);
    assertEquals([level(), pending()], [false, true]);
    host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
    assertEquals([level(), pending()], [true, true]);
    host.writeBar(MEMORY_BASE + TestRegister.PIN, 4, true, 0, 0);
    assertEquals([level(), pending()], [false, false]);
  }),
);

Deno.test(
  "DMA works while the guest has bus mastering on, and is refused and warned of once otherwise",
  withHost(({ host, ram, log }) => {
    ram.fill(0x5a, 0x20, 0x30);
    const bytes = new Uint8Array(16);
    assert(host.dma.read(RAM_BASE + 0x20, bytes));
    assertEquals(bytes, new Uint8Array(16).fill(0x5a));
    host.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
    for (let i = 0; i < 3; i++) assert(!host.dma.write(RAM_BASE, bytes));
    assertEquals(ram[0], 0);
    assertEquals(log, ["DMA while the guest has bus mastering off was refused"]);
  }),
);

Deno.test(
  "DMA outside RAM is refused and warned of once",
  withHost(({ host, log }) => {
    for (const address of [0, RAM_BASE - 1, RAM_BASE + 0xfff, 2 ** 53]) {
      assert(!host.dma.read(address, new Uint8Array(2)));
    }
    assertEquals(log, ["DMA outside the guest's RAM was refused"]);
  }),
);

Deno.test(
  "a guest that invents ever new warnings is cut short",
  withHost(({ host, log }) => {
    for (let i = 0; i < 1000; i++) host.warnOnce(`odd ${i}`);
    assertEquals(log.length, 33);
    assertEquals(log.at(-1), "more has been odd; no further warnings");
  }),
);

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

Deno.test(
  "a space is accessed by its number and an offset",
  withHost(({ host, device }) => {
    host.store(TestBar.IO, 0x10, 1, 0xab);
    host.store(TestBar.MEMORY, 0x14, 4, 0x12345678);
    assertEquals([host.load(TestBar.IO, 0x10, 1), host.load(TestBar.MEMORY, 0x16, 2)], [0xab, 0x1234]);
    assertEquals(device.seen, [
      ["write", TestBar.IO, 0x10, 1, 0xab],
      ["write", TestBar.MEMORY, 0x14, 4, 0x12345678],
      ["read", TestBar.IO, 0x10, 1, 0xab],
      ["read", TestBar.MEMORY, 0x16, 2, 0x1234],
    ]);
    assertEquals(host.load(Space.CONFIG, 0, 4), TestDeviceId.DEVICE * 0x10000 + TestDeviceId.VENDOR);
    assertEquals(host.spaces, [TestBar.IO_SIZE, TestBar.MEMORY_SIZE, 0, 0, 0, 0, 0x100]);
  }),
);

Deno.test(
  "a BAR of a space that the guest has disabled reads as all-ones, drops what is written, and reaches no device",
  withHost(({ host, device }) => {
    host.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.IO);
    host.store(TestBar.MEMORY, 0, 4, 0x5eed);
    assertEquals([1, 2, 4].map((size) => host.load(TestBar.MEMORY, 0, size as 1 | 2 | 4)), [0xff, 0xffff, 0xffffffff]);
    assertEquals(device.seen, []);
    assertEquals(host.load(TestBar.IO, 0, 4), 0);
    host.store(Space.CONFIG, PciConfig.COMMAND, 2, PciCommand.MEMORY);
    assertEquals([host.load(TestBar.MEMORY, 0, 4), host.load(TestBar.IO, 0, 4)], [0, 0xffffffff]);
    host.reset();
    assertEquals(host.load(TestBar.MEMORY, 0, 4), 0xffffffff);
  }),
);

Deno.test(
  "what devices declare lies in one file, each shadow behind the one before it",
  withHost(({ host, device }) => {
    const { size, ranges } = host.registers.layout;
    assertEquals(ranges.map(({ space, offset, length, at }) => [space, offset, length, at]), [
      [Space.CONFIG, 0, 0x100, 0],
      [TestBar.MEMORY, 0, SHADOWED, 0x100],
    ]);
    assertEquals(size, 0x2000); // 0x1100 bytes, in whole pages
    const mapping = mapShadow(host.registers.fd, size);
    device.writeBar(TestBar.MEMORY, 8, 4, 0x5eed);
    const view = new DataView(mapping.bytes.buffer);
    assertEquals([view.getUint16(0, true), view.getUint32(0x108, true)], [TestDeviceId.VENDOR, 0x5eed]);
    mapping.unmap();
  }),
);

Deno.test(
  "the pin's state is in the shadow before it is on the line",
  leakingNothing(() => {
    const shown: number[] = [];
    const host = new PciHost({
      memory: new GuestMemory(),
      line: { set: () => void shown.push(device?.config.bytes[PciConfig.STATUS] ?? 0) },
      clock,
      log() {},
    });
    const device: TestDevice = new TestDevice(host);
    host.attach(device);
    shown.length = 0;
    host.interrupt.set(true);
    host.interrupt.set(false);
    assertEquals(shown, [PciStatus.INTERRUPT, 0]);
    host.close();
  }),
);

Deno.test(
  "a device that is made may ask for no further shadow",
  withHost(({ host }) => {
    assertThrows(() => host.shadow(4, []), TypeError);
  }),
);

Deno.test(
  "a device without a shadow has one page of zeroes for its peer",
  leakingNothing(() => {
    const host = bareHost({ ram: new Uint8Array(16), levels: [], log: [] });
    assertEquals(host.registers.layout, { size: 4096, ranges: [] });
    const mapping = mapShadow(host.registers.fd, 4096);
    assertEquals(mapping.bytes.every((byte) => byte === 0), true);
    mapping.unmap();
    host.close();
  }),
);

for (
  const [what, size, range] of [
    ["is too large", MAX_SHADOW_SIZE + 4, {}],
    ["is of no size", 0, {}],
    ["is of bytes", 5, {}],
    ["ends before a range does", 8, { length: 8, at: 4 }],
  ] as [string, number, Partial<ShadowedRegisters>][]
) {
  Deno.test(`a shadow that ${what} is a defect of the device`, () => {
    const host = bareHost({ ram: new Uint8Array(16), levels: [], log: [] });
    assertThrows(() => host.shadow(size, [{ bar: 1, offset: 0, length: 4, at: 0, ...range }]), RangeError);
    host.close();
  });
}

for (
  const [what, ranges] of [
    ["of a BAR that it does not have", [{ bar: 5, offset: 0, length: 4, at: 0 }]],
    ["beyond its BAR", [{ bar: TestBar.IO, offset: TestBar.IO_SIZE, length: 4, at: 0 }]],
    ["that it has declared already", [{ bar: TestBar.MEMORY, offset: SHADOWED - 4, length: 4, at: 0 }]],
  ] as [string, ShadowedRegisters[]][]
) {
  Deno.test(
    `a shadow of registers ${what} is a defect of the device`,
    leakingNothing(() => {
      const host = bareHost({ ram: new Uint8Array(16), levels: [], log: [] });
      host.shadow(16, ranges);
      const device = new TestDevice(host);
      assertThrows(() => host.attach(device), TypeError);
      host.close();
    }),
  );
}

for (const command of [0, PciCommand.MEMORY, PciCommand.MASTER, PciCommand.MEMORY | PciCommand.MASTER]) {
  const isInUse = command === (PciCommand.MEMORY | PciCommand.MASTER);
  Deno.test(
    `a device that takes another's place is ${isInUse ? "" : "not "}told so where the command register is ${command}`,
    withHost(({ host, device }) => {
      host.restarted();
      assertEquals(device.restarts, isInUse ? 1 : 0);
    }, command),
  );
}
