import { assertEquals, assertThrows } from "@std/assert";
import { ConfigSpace } from "../../src/device/config_space.ts";
import { probeBars } from "../../src/proxy/probe.ts";

/** Configuration accesses to a header with these BARs. */
function access(config: ConfigSpace) {
  return {
    read: (offset: number) => config.read(offset, 4),
    write: (offset: number, value: number) => config.write(offset, 4, value),
  };
}

Deno.test("probing finds the BARs that the device has, with space and size", () => {
  const config = new ConfigSpace();
  const bars = [
    { index: 0, space: "io", size: 0x100 },
    { index: 1, space: "memory", size: 0x400 },
    { index: 3, space: "memory", size: 0x80000000 },
  ] as const;
  for (const bar of bars) config.addBar(bar);
  assertEquals(probeBars(access(config)), bars);
});

Deno.test("probing leaves a programmed address as it was", () => {
  const config = new ConfigSpace();
  config.addBar({ index: 2, space: "memory", size: 0x2000 });
  config.write(0x18, 4, 0xfebf0000);
  probeBars(access(config));
  assertEquals(config.read(0x18, 4), 0xfebf0000);
});

Deno.test("an I/O BAR whose upper 16 bits do not exist is sized all the same", () => {
  const config = new ConfigSpace();
  config.define(0x10, 4, 1, 0xff00);
  assertEquals(probeBars(access(config)), [{ index: 0, space: "io", size: 0x100 }]);
});

Deno.test("a function that answers all-ones has no BARs", () => {
  assertEquals(probeBars({ read: () => 0xffffffff, write: () => {} }), []);
});

Deno.test("a 64-bit BAR is refused by its number", () => {
  const config = new ConfigSpace();
  config.define(0x14, 4, 0x4, 0xfffff000);
  assertThrows(() => probeBars(access(config)), RangeError, "BAR 1");
});

Deno.test("an answer that is no size is refused", () => {
  for (const sized of [0x00ff0000, 0xfffff0f0, 0x80000008]) {
    let last = 0;
    const config = { read: () => last === 0xffffffff ? sized : 0, write: (_: number, value: number) => last = value };
    if (sized === 0x80000008) assertEquals(probeBars(config)[0].size, 0x80000000);
    else assertThrows(() => probeBars(config), RangeError, "no size");
  }
});
