/** Against the PCI Local Bus Specification 3.0, chapter 6. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { allOnes, ConfigSpace, PciCommand, PciConfig, PciStatus } from "../../src/device/config_space.ts";

const IDENTITY = { vendorId: 0x1000, deviceId: 0x0012, revisionId: 3, classCode: 0x010000, interruptPin: 1 };

function build(): ConfigSpace {
  const config = new ConfigSpace();
  config.identify({ ...IDENTITY, subsystemVendorId: 0x1af4, subsystemId: 0x1100 });
  config.addBar({ index: 0, space: "io", size: 0x100 });
  config.addBar({ index: 1, space: "memory", size: 0x2000 });
  return config;
}

Deno.test("the header has the identity where software looks for it", () => {
  const config = build();
  assertEquals(config.read(0x00, 4), 0x00121000);
  assertEquals(config.read(0x08, 4), 0x01000003);
  assertEquals(config.read(0x2c, 4), 0x11001af4);
  assertEquals(config.read(0x3d, 1), 1);
});

Deno.test("identity cannot be written", () => {
  const config = build();
  for (const offset of [0x00, 0x08, 0x2c, 0x3d]) config.write(offset, 4, 0xffffffff);
  assertEquals([config.read(0x00, 4), config.read(0x08, 4), config.read(0x3d, 1)], [0x00121000, 0x01000003, 1]);
});

Deno.test("the command register has the bits of a conventional function, and no others", () => {
  const config = build();
  config.write(PciConfig.COMMAND, 2, 0xffff);
  assertEquals(config.read(PciConfig.COMMAND, 2), 0x0547);
});

Deno.test("error bits of the status register are cleared by ones, and left by zeroes", () => {
  const config = build();
  config.set(PciConfig.STATUS, 2, PciStatus.WRITE_ONE_TO_CLEAR | PciStatus.INTERRUPT);
  config.write(PciConfig.STATUS, 2, 0x8000);
  assertEquals(config.read(PciConfig.STATUS, 2), 0x7900 | PciStatus.INTERRUPT);
  config.write(PciConfig.STATUS, 2, 0xffff);
  assertEquals(config.read(PciConfig.STATUS, 2), PciStatus.INTERRUPT);
});

Deno.test("a BAR answers all-ones with its size and kind", () => {
  const config = build();
  config.write(0x10, 4, 0xffffffff);
  config.write(0x14, 4, 0xffffffff);
  assertEquals([config.read(0x10, 4), config.read(0x14, 4)], [0xffffff01, 0xffffe000]);
  config.write(0x18, 4, 0xffffffff);
  assertEquals(config.read(0x18, 4), 0, "a register without a BAR");
});

Deno.test("a BAR answers only when its space is enabled and it has an address", () => {
  const config = build();
  config.write(0x10, 4, 0xc001);
  config.write(0x14, 4, 0xfebf2000);
  assertEquals(config.mappings(), []);
  config.write(PciConfig.COMMAND, 2, PciCommand.IO);
  assertEquals(config.mappings(), [{ index: 0, space: "io", size: 0x100, address: 0xc000 }]);
  config.write(PciConfig.COMMAND, 2, PciCommand.MEMORY);
  assertEquals(config.mappings(), [{ index: 1, space: "memory", size: 0x2000, address: 0xfebf2000 }]);
  config.write(0x14, 4, 0);
  assertEquals(config.mappings(), []);
  config.write(0x14, 4, 0xffffffff);
  assertEquals(config.mappings(), [], "what sizing leaves behind is no address");
});

Deno.test("accesses at the end of the space fit, those beyond it read as all-ones and write nothing", () => {
  const config = new ConfigSpace();
  config.define(0xfc, 4, 0x44332211, 0xffffffff);
  assertEquals([config.read(0xff, 1), config.read(0xfe, 2), config.read(0xfd, 1)], [0x44, 0x4433, 0x22]);
  const illegal = [[0xff, 2], [0xfd, 4], [0x100, 1], [-1, 1], [0.5, 1], [0, 3], [0, 8], [NaN, 4]];
  for (const [offset, size] of illegal) {
    assertEquals(config.read(offset, size), allOnes(size));
    config.write(offset, size, 0);
  }
  assertEquals(config.read(0xfc, 4), 0x44332211);
});

Deno.test("an unaligned access is the same bytes as aligned ones", () => {
  const config = new ConfigSpace();
  config.define(0x40, 4, 0, 0xffffffff);
  config.define(0x44, 4, 0, 0x00ffffff);
  config.write(0x42, 4, 0xa1b2c3d4);
  assertEquals([config.read(0x40, 4), config.read(0x44, 4), config.read(0x43, 2)], [0xc3d40000, 0xa1b2, 0xb2c3]);
});

Deno.test("a write is the writes of its bytes, whatever the masks", () => {
  const words = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(words, words, words, words, fc.constantFrom(1, 2, 4), (value, writable, clearable, data, size) => {
      const [whole, bytes] = [new ConfigSpace(), new ConfigSpace()];
      for (const config of [whole, bytes]) config.define(0x40, 4, value, writable & ~clearable, clearable);
      whole.write(0x40, size, data);
      for (let i = 0; i < size; i++) bytes.write(0x40 + i, 1, (data >>> (8 * i)) & 0xff);
      assertEquals(whole.bytes, bytes.bytes);
    }),
  );
});

Deno.test("an I/O BAR answers at the top of the ports, a memory BAR not where sizing leaves it", () => {
  const config = new ConfigSpace();
  config.identify(IDENTITY);
  config.addBar({ index: 0, space: "io", size: 0x100 });
  config.addBar({ index: 1, space: "memory", size: 0x400 });
  config.write(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY);
  config.write(PciConfig.BAR0, 4, 0xff00);
  config.write(PciConfig.BAR0 + 4, 4, 0xffffffff);
  assertEquals(config.mappings(), [{ index: 0, space: "io", size: 0x100, address: 0xff00 }]);
});

Deno.test("a reset brings back what was defined", () => {
  const config = build();
  const before = config.bytes.slice();
  for (let offset = 0; offset < PciConfig.SIZE; offset += 4) config.write(offset, 4, 0x5a5a5a5a);
  config.set(0x60, 4, 1);
  config.reset();
  assertEquals(config.bytes, before);
});

Deno.test("attaching to registers that exist leaves them as they are until the reset", () => {
  const bytes = new Uint8Array(PciConfig.SIZE);
  bytes[0x3c] = 11;
  const config = new ConfigSpace(bytes, { attached: true });
  config.identify(IDENTITY);
  assertEquals([config.read(0x3c, 1), config.read(0, 4)], [11, 0]);
  config.reset();
  assertEquals([config.read(0x3c, 1), config.read(0, 4)], [0, 0x00121000]);
});

Deno.test("registers and BARs that cannot be are refused", () => {
  const config = build();
  assertThrows(() => config.define(0xfe, 4, 0), RangeError);
  assertThrows(() => new ConfigSpace(new Uint8Array(255)), RangeError, "255");
  const bars = [
    { index: 6, space: "memory", size: 16 },
    { index: 0, space: "memory", size: 16 },
    { index: 2, space: "memory", size: 8 },
    { index: 2, space: "io", size: 2 },
    { index: 2, space: "memory", size: 48 },
    { index: 2, space: "memory", size: 2 ** 32 },
  ] as const;
  for (const bar of bars) assertThrows(() => config.addBar(bar), RangeError);
});
