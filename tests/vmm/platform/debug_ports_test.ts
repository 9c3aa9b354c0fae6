import { assertEquals } from "@std/assert";
import { createChipset } from "../support/q35.ts";

Deno.test("the debug console reads as 0xe9, by which SeaBIOS finds it", () => {
  const { ports } = createChipset();
  assertEquals(ports.read(0x402, 1), 0xe9);
});

Deno.test("what a guest writes to the debug console comes out of it", () => {
  const { ports, debugOutput } = createChipset();
  for (const byte of new TextEncoder().encode("Hi")) ports.write(0x402, 1, byte);
  assertEquals(debugOutput, [0x48, 0x69]);
});

Deno.test("isa-debug-exit ends the machine with (value << 1) | 1", () => {
  for (const [size, value, status] of [[1, 0, 1], [1, 0x10, 0x21], [2, 0x31, 0x63], [2, 0xffff, 0xff]]) {
    const { host, ports } = createChipset();
    ports.write(0x501, size, value);
    assertEquals(host.exits, [status]);
  }
});

Deno.test("isa-debug-exit reads as 0", () => {
  const { ports } = createChipset();
  assertEquals(ports.read(0x501, 2), 0);
});

Deno.test("port 0x80 keeps the last POST code", () => {
  const { ports } = createChipset();
  ports.write(0x80, 1, 0x2a);
  ports.write(0x80, 1, 0x2b);
  assertEquals(ports.read(0x80, 1), 0x2b);
});
