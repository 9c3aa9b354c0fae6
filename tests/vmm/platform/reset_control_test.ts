/** RST_CNT and PORT92 (ICH9 data sheet, processor interface registers). */
import { assertEquals } from "@std/assert";
import { createChipset } from "../support/q35.ts";

Deno.test("RST_CPU rising at 0xcf9 resets, whatever SYS_RST and FULL_RST say", () => {
  for (const value of [0x04, 0x06, 0x0e]) {
    const { host, ports } = createChipset();
    ports.write(0xcf9, 1, value & ~4);
    assertEquals(host.resets, 0);
    ports.write(0xcf9, 1, value);
    assertEquals(host.resets, 1);
  }
});

Deno.test("RST_CPU resets only when it rises", () => {
  const { host, ports } = createChipset();
  ports.write(0xcf9, 1, 0x06);
  ports.write(0xcf9, 1, 0x06);
  assertEquals(host.resets, 1);
});

Deno.test("reserved bits of RST_CNT read as 0", () => {
  const { ports } = createChipset();
  ports.write(0xcf9, 1, 0xfb);
  assertEquals(ports.read(0xcf9, 1), 0x0a);
});

Deno.test("a word write over 0xcf9 does not reset", () => {
  const { host, ports } = createChipset();
  ports.write(0xcf9, 2, 0x0606);
  assertEquals(host.resets, 0);
});

Deno.test("INIT_NOW rising at port 0x92 resets", () => {
  const { host, ports } = createChipset();
  ports.write(0x92, 1, 0x02);
  assertEquals(host.resets, 0);
  ports.write(0x92, 1, 0x03);
  ports.write(0x92, 1, 0x03);
  assertEquals(host.resets, 1);
});

Deno.test("gate A20 is open after reset, and its bit can be read back", () => {
  const { ports } = createChipset();
  assertEquals(ports.read(0x92, 1), 0x02);
  ports.write(0x92, 1, 0xfc);
  assertEquals(ports.read(0x92, 1), 0x00);
});

Deno.test("both registers have their reset values after a reset", () => {
  const { ports, reset } = createChipset();
  ports.write(0xcf9, 1, 0x0a);
  ports.write(0x92, 1, 0);
  reset();
  assertEquals([ports.read(0xcf9, 1), ports.read(0x92, 1)], [0x00, 0x02]);
});
