import { assertEquals } from "@std/assert";
import { exactSize, humanSize } from "../../src/img/human_size.ts";

const MiB = 2 ** 20;

Deno.test("a size has at most three digits and no zeroes behind the point", () => {
  const sizes: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [200704, "196 KiB"],
    [10 * MiB, "10 MiB"],
    [1.5 * MiB, "1.5 MiB"],
    [1234 * MiB, "1.21 GiB"],
    [4831838208, "4.5 GiB"],
    [2 ** 53, "8 PiB"],
  ];
  for (const [bytes, text] of sizes) assertEquals(humanSize(bytes), text, String(bytes));
});

Deno.test("a unit begins at a thousand of the one before", () => {
  assertEquals(humanSize(1000), "0.977 KiB");
  assertEquals(humanSize(999 * 1024), "999 KiB");
  assertEquals(humanSize(1000 * 1024), "0.977 MiB");
});

Deno.test("a size that rounds up to a thousand is written as C's %g does it", () => {
  assertEquals(humanSize(999.6 * MiB), "1e+03 MiB");
});

Deno.test("a size in the middle between two goes to the even digit", () => {
  assertEquals([192.5, 193.5, 10.25, 10.75, 1.125, 1.375].map((size) => humanSize(size * 1024)), [
    ...["192 KiB", "194 KiB", "10.2 KiB", "10.8 KiB", "1.12 KiB", "1.38 KiB"],
  ]);
});

Deno.test("an exact size has the bytes as well", () => {
  assertEquals(exactSize(4831838208), "4.5 GiB (4831838208 bytes)");
});
