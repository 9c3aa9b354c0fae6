import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { type ResizeOptions, resizeQcow2 } from "../../../src/block/qcow2/resize.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { qemuImg, withFolder } from "../../support/qemu_img.ts";
import { QEMU_IMG, testNeeding } from "../../support/requirements.ts";
import { runs } from "../../support/runs.ts";
import {
  addBitmaps,
  addCompressed,
  addSnapshot,
  assertClean,
  copyImage,
  corpus,
  type CorpusImage,
  makeImage,
  openImage,
  patchNumber,
  write,
} from "./corpus.ts";
import { FailingFile } from "./failing_file.ts";
import { contents, ends, now, pattern } from "./workload.ts";

const SECTOR = 512;

function resize({ file, dataFile, backing }: CorpusImage, size: number, options: ResizeOptions = {}): void {
  const below = backing && openRaw(backing);
  now(resizeQcow2(file, size, { shrink: true, dataFile, backing: below, ...options }));
}

/** What the disk in an image holds. */
function disk(image: CorpusImage): Uint8Array {
  const device = openImage(image, true);
  const bytes = contents(device);
  ends((done) => device.close(done));
  return bytes;
}

/** The first bytes, and zeroes. */
function resized(bytes: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(size);
  result.set(bytes.subarray(0, size));
  return result;
}

/** Whether an image can be resized at all. */
function isResizable({ name }: CorpusImage): boolean {
  return name !== "v2 snapshot" && name !== "bitmaps";
}

Deno.test("a disk of any kind that grows holds what it held, and zeroes", () => {
  for (const original of corpus().filter(isResizable)) {
    for (const sectors of [97, 200, 1000]) {
      const image = copyImage(original);
      resize(image, sectors * SECTOR);
      assertClean(image.file);
      assertEquals(disk(image), resized(disk(original), sectors * SECTOR), original.name);
    }
  }
});

Deno.test("a disk of any kind that shrinks holds what is left", () => {
  for (const original of corpus().filter(isResizable)) {
    for (const sectors of [0, 1, 21, 64, 95]) {
      const image = copyImage(original);
      resize(image, sectors * SECTOR);
      assertClean(image.file);
      assertEquals(disk(image), disk(original).subarray(0, sectors * SECTOR), original.name);
      assert(image.file.size <= original.file.size);
    }
  }
});

Deno.test("what a disk lost by shrinking does not come back when it grows", () => {
  for (const original of corpus().filter(isResizable)) {
    const image = copyImage(original);
    const before = disk(original);
    resize(image, 3 * SECTOR);
    resize(image, before.length);
    assertClean(image.file);
    assertEquals(disk(image), resized(before.subarray(0, 3 * SECTOR), before.length), original.name);
  }
});

Deno.test("the grown part reads as zeroes where the backing file is longer", () => {
  for (const version of [2, 3] as const) {
    for (const sectors of [1, 7, 8, 9, 63]) {
      const image = makeImage("image", { version, clusterSize: 4096, backingFile: "backing" });
      resize(image, sectors * SECTOR);
      image.backing!.patch(0, pattern(128 * SECTOR, 5));
      const held = disk(image);
      resize(image, 100 * SECTOR);
      assertClean(image.file);
      assertEquals(disk(image), resized(held, 100 * SECTOR));
    }
  }
});

Deno.test("an image with a data file gives the data file the new size", () => {
  const image = makeImage("image", { dataFile: "data", dataFileRaw: true });
  const held = disk(image);
  resize(image, 200 * SECTOR);
  assertEquals(image.dataFile!.bytes(0, image.dataFile!.size), resized(held, 200 * SECTOR));
  resize(image, 10 * SECTOR);
  assertEquals(image.dataFile!.size, 10 * SECTOR);
});

Deno.test("snapshots are as they were after the disk has grown or shrunk", () => {
  for (const sectors of [0, 3, 50, 2000]) {
    const image = makeImage("image");
    addCompressed(image, 8, 4);
    addSnapshot(image, "1");
    const taken = disk(image);
    write(image, 1024, 2048, 50);
    resize(image, sectors * SECTOR);
    assertClean(image.file);
    assertEquals(snapshotOf(image), taken);
  }
});

/** What the disk held when the only snapshot was taken: the image with the snapshot's L1 table and size in its header. */
function snapshotOf({ file }: CorpusImage): Uint8Array {
  const { snapshotsOffset } = now(readHeader(file));
  const view = file.copy();
  view.patch(HeaderField.L1_TABLE_OFFSET, file.bytes(snapshotsOffset, 8));
  view.patch(HeaderField.L1_SIZE, file.bytes(snapshotsOffset + 8, 4));
  view.patch(HeaderField.SIZE, file.bytes(snapshotsOffset + 48, 8));
  // The snapshot would lie over the active table.
  patchNumber(view, HeaderField.NB_SNAPSHOTS, 4, 0n);
  return disk({ name: "snapshot", file: view });
}

Deno.test("a disk can grow to where its L1 table has to move, and its refcounts need a longer table", () => {
  const file = new MemoryFile();
  now(createQcow2(file, { size: 65536, clusterSize: 512, refcountBits: 64 }));
  const image = { name: "image", file };
  write(image, 0, 65536, 3);
  const held = disk(image);
  // An L1 table of 2 MiB: 64 refcounts in a block, 64 blocks in a cluster of the refcount table.
  const size = 2 ** 18 * 64 * 512;
  resize(image, size);
  assertClean(file);
  assertEquals(now(readHeader(file)).size, size);
  const device = openImage(image, true);
  const start = new Uint8Array(65536);
  ends((done) => device.read(0, start, done));
  assertEquals(start, held);
});

Deno.test("what is preallocated has its place", () => {
  const image = makeImage("image");
  resize(image, 300 * SECTOR, { preallocation: "full" });
  assertClean(image.file);
  assert(now(checkQcow2(image.file)).allocatedClusters >= 300 - 96);
});

Deno.test("a size of before is no change", () => {
  const image = makeImage("image");
  image.file.changes.length = 0;
  resize(image, 96 * SECTOR);
  assertEquals(image.file.changes, []);
});

Deno.test("a resize that is cut short leaves the old disk or the new one", () => {
  for (const [kind, options] of [["plain", {}], ["backing", { backingFile: "backing" }]] as const) {
    for (const sectors of [40, 5000]) {
      const original = makeImage(kind, options);
      original.backing?.patch(0, pattern(6000 * SECTOR, 5));
      addSnapshot(original, "1");
      const held = disk(original);
      for (let changes = 0;; changes++) {
        const image = { ...original, file: new FailingFile(original.file, changes) };
        const finished = succeeds(() => resize(image, sectors * SECTOR));
        const left = { ...original, file: image.file.copy() };
        assertEquals(now(checkQcow2(left.file)).corruptions, 0);
        const bytes = disk(left);
        const expected = bytes.length === held.length && !finished ? held : resized(held, sectors * SECTOR);
        assertEquals(bytes, expected);
        if (finished) break;
        changes += Math.floor(changes / 8);
      }
    }
  }
});

function succeeds(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}

Deno.test("what cannot be resized is refused in one line", () => {
  const refused = (image: CorpusImage, size: number, message: string, options: ResizeOptions = {}) => {
    image.file.changes.length = 0;
    assertThrows(() => resize(image, size, options), Error, `Cannot resize ${image.name}: ${message}`);
    assertEquals(image.file.changes, []);
  };
  const plain = makeImage("image");
  refused(plain, 1000, "the size 1000 is not a multiple of 512");
  refused(plain, 512, "the new size 512 is below 49152; data would be lost", { shrink: false });
  refused(plain, 2 ** 40, "the size is too large for clusters of 512 bytes");
  refused(plain, 2 ** 20, "preallocation of metadata only is not supported", { preallocation: "metadata" });
  refused({ name: "image", file: plain.file.copy({ readOnly: true }) }, 2 ** 20, "it is open for reading only");
  const snapshot = makeImage("image", { version: 2 });
  addSnapshot(snapshot, "1");
  refused(snapshot, 2 ** 20, "it is of version 2 and has snapshots");
  const bitmaps = makeImage("image");
  addBitmaps(bitmaps);
  refused(bitmaps, 2 ** 20, "it has bitmaps");
  refused(makeImage("image", { backingFile: "backing" }), 2 ** 20, "it needs its backing file", { backing: undefined });
  refused(makeImage("image", { dataFile: "data" }), 2 ** 20, "it needs its external data file", {
    dataFile: undefined,
  });
  const corrupt = makeImage("image");
  patchNumber(corrupt.file, HeaderField.INCOMPATIBLE_FEATURES, 8, 2n);
  refused(corrupt, 2 ** 20, "it is marked as corrupt");
  const damaged = makeImage("image");
  patchNumber(damaged.file, now(readHeader(damaged.file)).l1TableOffset + 8, 8, 1n << 40n);
  refused(damaged, 512, "it has 1 errors, which are to be repaired first");
});

/** Images and changes of size to try. */
const anyResize = fc.record({
  clusterBits: fc.integer({ min: 9, max: 12 }),
  version: fc.constantFrom(2 as const, 3 as const),
  refcountOrder: fc.integer({ min: 0, max: 6 }),
  extendedL2: fc.boolean(),
  backing: fc.option(fc.integer({ min: 1, max: 500 }), { nil: undefined }),
  sectors: fc.integer({ min: 1, max: 400 }),
  steps: fc.array(fc.record({ sectors: fc.integer({ min: 1, max: 1000 }), at: fc.nat(999), length: fc.nat(40) }), {
    minLength: 1,
    maxLength: 5,
  }),
});

type AnyResize = typeof anyResize extends fc.Arbitrary<infer T> ? T : never;

/** Creates an image and does the steps. @returns it, and what it has to hold. */
function resizeAround(shape: AnyResize): { image: CorpusImage; model: Uint8Array } {
  const { version, sectors, steps } = shape;
  const extendedL2 = version === 3 && shape.extendedL2;
  const file = new MemoryFile();
  const backing = shape.backing === undefined ? undefined : new MemoryFile({ name: "backing" });
  backing?.patch(0, pattern(shape.backing! * SECTOR, 9));
  now(createQcow2(file, {
    size: sectors * SECTOR,
    version,
    extendedL2,
    clusterSize: extendedL2 ? 16384 : 2 ** shape.clusterBits,
    refcountBits: version === 2 ? 16 : 2 ** shape.refcountOrder,
    ...(backing === undefined ? {} : { backingFile: "backing", backingFormat: "raw" }),
  }));
  const image = { name: "image", file, backing };
  let model = resized(backing?.bytes(0, backing.size) ?? new Uint8Array(), sectors * SECTOR);
  for (const [seed, step] of steps.entries()) {
    const offset = step.at % (model.length / SECTOR) * SECTOR;
    const length = Math.min(model.length - offset, (1 + step.length) * SECTOR);
    write(image, offset, length, seed);
    model.set(pattern(length, seed), offset);
    resize(image, step.sectors * SECTOR);
    model = resized(model, step.sectors * SECTOR);
    assertClean(file);
  }
  return { image, model };
}

Deno.test("a disk that is resized again and again holds what it has to hold", () => {
  fc.assert(
    fc.property(anyResize, (shape) => {
      const { image, model } = resizeAround(shape);
      assertEquals(disk(image), model);
    }),
    { numRuns: runs(60, 300) },
  );
});

testNeeding([QEMU_IMG], "qemu-img finds nothing wrong in resized images, and what they have to hold", () => {
  withFolder((folder) => {
    fc.assert(
      fc.property(anyResize, (shape) => {
        const { image, model } = resizeAround(shape);
        image.file.save(`${folder}/image`);
        image.backing?.save(`${folder}/backing`);
        Deno.writeFileSync(`${folder}/model`, model);
        assertEquals(qemuImg(folder, "check", "-q", "-f", "qcow2", "image"), { code: 0, stdout: "", stderr: "" });
        assertEquals(qemuImg(folder, "compare", "-q", "-f", "qcow2", "-F", "raw", "image", "model").code, 0);
      }),
      { numRuns: runs(15, 50) },
    );
  });
});
