import { assertEquals, assertThrows } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { knownImages, readKnownImages, requireSameImages, writeKnownImages } from "../../src/vmm/known_images.ts";
import { leakingNothing } from "../support/leaks.ts";

const top = { path: "/top.qcow2", fd: 5, identity: "1:2", diskSize: 1 << 20 };
const base = { path: "/base.img", fd: 6, identity: "1:3" };
const known = knownImages([top, base]);

Deno.test(
  "what is known of images reaches another process, device by device",
  leakingNothing(() => {
    const fd = writeKnownImages([[], known]);
    try {
      assertEquals(readKnownImages(fd), [[], [{ identity: "1:2", diskSize: 1 << 20 }, { identity: "1:3" }]]);
    } finally {
      closeFd(fd);
    }
  }),
);

Deno.test("the images that a machine was started with are taken, also when a disk has grown or cannot be read", () => {
  requireSameImages([top, base], known);
  requireSameImages([{ ...top, diskSize: 2 << 20 }, base], known);
  requireSameImages([{ ...top, diskSize: undefined }, base], known);
});

for (
  const { what, files, problem } of [
    {
      what: "another image",
      files: [{ ...top, identity: "1:4" }, base],
      problem: "/top.qcow2 is another file than when the machine was started",
    },
    {
      what: "another backing file",
      files: [top, { ...base, identity: "2:3" }],
      problem: "/base.img is another file than when the machine was started",
    },
    {
      what: "one file more",
      files: [top, base, { ...base, path: "/more.img" }],
      problem: "/more.img is another file than when the machine was started",
    },
    { what: "one file less", files: [top], problem: "/top.qcow2 was made of more files when the machine was started" },
    {
      what: "a smaller disk",
      files: [{ ...top, diskSize: 512 }, base],
      problem: "/top.qcow2 has a disk of 512 bytes, and had 1048576 when the machine was started",
    },
  ]
) {
  Deno.test(`${what} is refused`, () => {
    assertThrows(() => requireSameImages(files, known), Error, problem);
  });
}

Deno.test("a device of which nothing is known has no images", () => {
  requireSameImages([], []);
  assertThrows(() => requireSameImages([top], []), Error, "is another file");
});
