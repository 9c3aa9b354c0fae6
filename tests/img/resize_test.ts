import { assert, assertEquals, assertThrows } from "@std/assert";
import { newSize } from "../../src/img/resize.ts";
import { OptionError } from "../../src/options/option_error.ts";
import { testNeeding } from "../support/requirements.ts";
import { assertOneLine, Folder, QEMU_IMG } from "./support.ts";

const MiB = 2 ** 20;

Deno.test("a size is taken as it is, added or taken off", () => {
  assertEquals(newSize(10 * MiB, { relation: "+", bytes: MiB }, false), 11 * MiB);
  assertEquals(newSize(10 * MiB, { relation: "-", bytes: MiB }, true), 9 * MiB);
  assertEquals(newSize(10 * MiB, { relation: "=", bytes: 10 * MiB }, false), 10 * MiB);
});

Deno.test("an image becomes smaller only when that was allowed, and never smaller than nothing", () => {
  const smaller = { relation: "-", bytes: 1024 } as const;
  assertThrows(() => newSize(2048, smaller, false), OptionError, "expected --shrink");
  assertThrows(() => newSize(512, smaller, true), OptionError, "cannot be taken off");
  assertThrows(() => newSize(512, { relation: "=", bytes: 0 }, true), OptionError, "nothing would be left");
  assertThrows(
    () => newSize(512, { relation: "+", bytes: Number.MAX_SAFE_INTEGER - 511 }, true),
    OptionError,
    "too many",
  );
});

Deno.test("a size is a number of whole sectors", () => {
  assertThrows(() => newSize(512, { relation: "+", bytes: 1 }, false), OptionError, "513 bytes are no multiple of 512");
});

for (const format of ["raw", "qcow2"]) {
  testNeeding(
    [QEMU_IMG],
    `a ${format} image that grows and shrinks keeps its data, as with qemu-img`,
    () =>
      Folder.with(async (folder) => {
        for (const image of ["a", "b"]) {
          await folder.qemu("create", "-f", format, image, "10M");
          await folder.tool("qemu-io", "-f", format, "-c", "write -P 1 0 1M", "-c", "write -P 2 9M 1M", image);
        }
        for (const [size, ...options] of [["+1G"], ["20M", "--shrink"], ["-17M", "--shrink"], ["+500k"], ["200M"]]) {
          const ours = await folder.img("resize", "-f", format, ...options, "a", size);
          assertEquals(ours, { code: 0, stdout: "Image resized.\n", stderr: "" });
          await folder.tool("qemu-img", "resize", "-f", format, ...options, "b", size);
          if (format === "qcow2") await folder.assertConsistent("a");
          await folder.assertSame("a", "b");
        }
      }),
  );
}

for (const preallocation of ["falloc", "full"]) {
  testNeeding(
    [QEMU_IMG],
    `resize --preallocation=${preallocation} allocates the new part`,
    () =>
      Folder.with(async (folder) => {
        await folder.qemu("create", "-f", "raw", "a", "1M");
        const { code, stderr } = await folder.img(
          "resize",
          "-q",
          "-f",
          "raw",
          `--preallocation=${preallocation}`,
          "a",
          "3M",
        );
        assertEquals([code, stderr], [0, ""]);
        assert(folder.allocated("a") >= 2 * MiB);
        assertEquals(Deno.statSync(`${folder.path}/a`).size, 3 * MiB);
      }),
  );
}

testNeeding(
  [QEMU_IMG],
  "an overlay grows with zeroes, whatever its backing file has there",
  () =>
    Folder.with(async (folder) => {
      await folder.qemu("create", "-f", "raw", "base", "10M");
      await folder.tool("qemu-io", "-f", "raw", "-c", "write -P 9 0 10M", "base");
      await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "raw", "a", "5M");
      assertEquals((await folder.img("resize", "a", "10M")).code, 0);
      await folder.assertConsistent("a");
      await folder.tool("qemu-io", "-c", "read -P 9 0 5M", "-c", "read -P 0 5M 5M", "a");
    }),
);

testNeeding(
  [QEMU_IMG],
  "what cannot be resized is refused in one line, and stays as it is",
  () =>
    Folder.with(async (folder) => {
      await folder.qemu("create", "-f", "qcow2", "a", "10M");
      await folder.qemu("create", "-f", "raw", "b", "10M");
      assertOneLine(await folder.img("resize", "a", "5M"), "expected --shrink");
      assertOneLine(await folder.img("resize", "a", "--", "-5M"), "expected --shrink");
      assertOneLine(await folder.img("resize", "a", "5X"), "'5X' is not accepted");
      assertOneLine(await folder.img("resize", "--preallocation=metadata", "b", "+1M"), "raw images have no metadata");
      assertOneLine(await folder.img("resize", "missing", "+1M"), "there is no such file");
      for (const image of ["a", "b"]) assertEquals((await folder.info(image))["virtual-size"], 10 * MiB);
    }),
);
