import { assertThrows } from "@std/assert";
import { requireAddressable } from "../../src/vmm/launch.ts";

const GIB = 0x4000_0000;

Deno.test("RAM may end where physical addresses do: 2 GiB of it are below the PCI hole", () => {
  requireAddressable(2 ** 36 - 2 * GIB, 36);
});

Deno.test("RAM that ends above what a physical address can say is refused, with both numbers", () => {
  assertThrows(() => requireAddressable(2 ** 36 - GIB, 36), Error, "64512 MiB of RAM do not fit the 36 bits");
});

Deno.test("RAM below the PCI hole fits any processor", () => {
  requireAddressable(2 * GIB, 32);
});
