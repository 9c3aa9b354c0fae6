import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { run } from "../../../src/block/coroutine.ts";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { readHeader } from "../../../src/block/qcow2/header.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { program, testNeeding } from "../../support/requirements.ts";
import { runs } from "../../support/runs.ts";
import { runTool } from "../../support/tool.ts";
import { addBitmaps, assertClean, type CorpusImage, makeImage, openImage, patchNumber, u64, write } from "./corpus.ts";
import { PowerLossFile, randomNumbers } from "./power_loss_file.ts";
import { contents, ends, now, pattern } from "./workload.ts";

function makeWithBitmaps(): CorpusImage {
  const image = makeImage("image");
  addBitmaps(image);
  return image;
}

function bitmapsOf(file: MemoryFile) {
  const { autoclearFeatures, bitmaps } = now(readHeader(file));
  return { autoclearFeatures, bitmaps };
}

Deno.test("the first write takes the bitmaps out of an image, with their clusters", () => {
  const image = makeWithBitmaps();
  write(image, 1024, 512, 7);
  assertEquals(bitmapsOf(image.file), { autoclearFeatures: 0n, bitmaps: undefined });
  assertClean(image.file);
});

Deno.test("an image that is only read keeps its bitmaps", () => {
  const image = makeWithBitmaps();
  const disk = openImage(image);
  contents(disk);
  ends((done) => disk.close(done));
  assertEquals(bitmapsOf(image.file).autoclearFeatures, 1n);
  assertClean(image.file);
});

/** What can be wrong with bitmaps so that nobody knows whether their clusters are theirs. */
const STRANGE: Readonly<Record<string, (file: MemoryFile, directory: number) => void>> = {
  "a table that is beyond the end of the file": (file, directory) => patchNumber(file, directory, 8, 1n << 40n),
  "a table of two bitmaps": (file, directory) => patchNumber(file, directory + 32, 8, u64(file, directory)),
  "a table in the place of the refcounts": (file, directory) =>
    patchNumber(file, directory, 8, BigInt(now(readHeader(file)).refcountTableOffset)),
  "a table that lies between clusters": (file, directory) => patchNumber(file, directory, 8, u64(file, directory) + 8n),
  "more bitmaps than the directory holds": (file) => patchNumber(file, 104 + 8 + 8, 4, 40n),
};

for (const [name, spoil] of Object.entries(STRANGE)) {
  Deno.test(`no bitmap is given back with ${name}`, () => {
    const image = makeWithBitmaps();
    const { file } = image;
    const { bitmaps } = now(readHeader(file));
    spoil(file, bitmaps!.directoryOffset);
    write(image, 1024, 512, 7);
    assertEquals(bitmapsOf(file).autoclearFeatures, 0n);
    const { corruptions, leaks } = now(checkQcow2(file));
    // The directory, two tables and one cluster of data.
    assertEquals({ corruptions, leaks }, { corruptions: 0, leaks: 4 });
  });
}

Deno.test("a loss of power while bitmaps are given back costs leaks at worst", () => {
  const before = makeWithBitmaps().file;
  fc.assert(
    fc.property(fc.integer(), fc.nat(60), (seed, steps) => {
      const file = new PowerLossFile(before, randomNumbers(seed));
      let disk: BlockDevice | undefined;
      run(openQcow2(file, { discard: true }), (_, opened) => disk = opened);
      while (disk === undefined) file.turn();
      disk.write(
        512,
        pattern(1024, 9),
        false,
        () => disk?.flush(() => disk?.write(0, pattern(512, 3), true, () => {})),
      );
      for (let i = 0; i < steps; i++) file.turn();
      const survivor = file.crash();
      const { corruptions, checkErrors } = now(checkQcow2(survivor));
      assertEquals({ corruptions, checkErrors }, { corruptions: 0, checkErrors: 0 });
      write({ name: "survivor", file: survivor }, 2048, 512, 5);
      assertEquals(now(checkQcow2(survivor)).corruptions, 0);
    }),
    { numRuns: runs(100, 1000) },
  );
});

testNeeding(
  [program("qemu-img", "qemu-utils"), program("qemu-io", "qemu-utils")],
  "qemu-img finds nothing wrong after a write to an image with bitmaps that QEMU made",
  () => {
    const folder = Deno.makeTempDirSync();
    try {
      const path = `${folder}/image`;
      for (const options of ["cluster_size=64k", "cluster_size=1k,refcount_bits=1", `data_file=${folder}/data`]) {
        runTool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "4M");
        for (const name of ["b0", "b1"]) runTool("qemu-img", "bitmap", "--add", "-g", "512", path, name);
        runTool("qemu-io", "-c", "write -P 3 1M 64k", path);
        const file = MemoryFile.load(path);
        assertEquals(bitmapsOf(file).bitmaps?.count, 2);
        const dataFile = options.startsWith("data_file") ? MemoryFile.load(`${folder}/data`) : undefined;
        write({ name: "image", file, dataFile }, 65536, 4096, 7);
        assertEquals(bitmapsOf(file).bitmaps, undefined);
        file.save(path);
        dataFile?.save(`${folder}/data`);
        runTool("qemu-img", "check", "-q", path);
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
);
