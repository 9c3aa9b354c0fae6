import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { rebuildRefcounts, repairQcow2 } from "../../../src/block/qcow2/repair.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import {
  addSnapshot,
  assertClean,
  copyImage,
  corpus,
  type CorpusImage,
  l2EntryOffset,
  makeImage,
  openImage,
  patchNumber,
  u64,
  write,
} from "./corpus.ts";
import { FailingFile } from "./failing_file.ts";
import { contents, ends, now } from "./workload.ts";

/** What the disk in an image holds. */
function disk(image: CorpusImage): Uint8Array {
  const device = openImage(image, true);
  const bytes = contents(device);
  ends((done) => device.close(done));
  return bytes;
}

function corruptionsOf(file: MemoryFile): number {
  return now(checkQcow2(file)).corruptions;
}

function refcountTable(file: MemoryFile): number {
  return now(readHeader(file)).refcountTableOffset;
}

/** Damage to what says which clusters are in use. The tables of the disk are as they were. */
const DAMAGE: Readonly<Record<string, (file: MemoryFile) => void>> = {
  "refcounts of zero"(file) {
    file.patch(Number(u64(file, refcountTable(file))), new Uint8Array(512));
  },
  "refcounts that are too high"(file) {
    file.patch(Number(u64(file, refcountTable(file))), new Uint8Array(512).fill(0x77));
  },
  "no refcount blocks"(file) {
    patchNumber(file, refcountTable(file), 8, 0n);
  },
  "a refcount block beyond the end of the file"(file) {
    patchNumber(file, refcountTable(file), 8, 1n << 40n);
  },
  "a refcount block that is not on a cluster boundary"(file) {
    patchNumber(file, refcountTable(file), 8, u64(file, refcountTable(file)) + 1n);
  },
  "a refcount block over the L1 table"(file) {
    patchNumber(file, refcountTable(file), 8, BigInt(now(readHeader(file)).l1TableOffset));
  },
  "copied flags that are missing"(file) {
    const { l1TableOffset, size, clusterBits } = now(readHeader(file));
    patchNumber(file, l1TableOffset, 8, u64(file, l1TableOffset) & ~(1n << 63n));
    const at = l2EntryOffset(file, Math.floor((size - 1) / 2 ** clusterBits));
    patchNumber(file, at, 8, u64(file, at) & ~(1n << 63n));
  },
};

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`${name} are repaired in images of every kind, which hold what they held`, () => {
    for (const original of corpus()) {
      const image = copyImage(original);
      damage(image.file);
      now(repairQcow2(image.file, "all"));
      assertClean(image.file);
      assertEquals(disk(image), disk(original));
      // And they can be written to.
      write(image, 1024, 512, 77);
      assertEquals(corruptionsOf(image.file), 0);
    }
  });
}

Deno.test("a repair that is cut short leaves an image no worse, and can be done again", () => {
  for (const damage of Object.values(DAMAGE)) {
    const original = makeImage("image");
    addSnapshot(original, "1");
    write(original, 512, 1024, 9);
    const held = disk(original);
    const damaged = original.file.copy();
    damage(damaged);
    const before = corruptionsOf(damaged);
    for (let changes = 0; changes < 12; changes++) {
      const file = new FailingFile(damaged, changes);
      let cutShort = false;
      try {
        now(repairQcow2(file, "all"));
      } catch {
        cutShort = true;
      }
      const left = file.copy();
      assert(corruptionsOf(left) <= before);
      now(repairQcow2(left, "all"));
      assertClean(left);
      assertEquals(disk({ name: "left", file: left }), held);
      if (!cutShort) break;
    }
  }
});

Deno.test("leaks are repaired alone where that is asked for", () => {
  const { file } = makeImage("image");
  const block = Number(u64(file, refcountTable(file)));
  const unused = Math.ceil(file.size / 512);
  file.patch(unused * 512, new Uint8Array(512));
  patchNumber(file, block + unused * 2, 2, 3n);
  const at = l2EntryOffset(file, 0);
  const spoilt = u64(file, at) | 2n;
  patchNumber(file, at, 8, spoilt);
  const { leaksFixed, corruptionsFixed, corruptions } = now(repairQcow2(file, "leaks"));
  assertEquals({ leaksFixed, corruptionsFixed, corruptions }, { leaksFixed: 1, corruptionsFixed: 0, corruptions: 1 });
  assertEquals(u64(file, at), spoilt);
});

Deno.test("nothing is freed while there are tables that cannot be followed", () => {
  const { file } = makeImage("image");
  const { l1TableOffset } = now(readHeader(file));
  const entry = u64(file, l1TableOffset);
  patchNumber(file, l1TableOffset, 8, 1n << 40n);
  const lost = file.copy();
  const { leaks } = now(repairQcow2(lost, "all"));
  assert(leaks > 0);
  patchNumber(lost, l1TableOffset, 8, entry);
  assertClean(lost);
});

Deno.test("nothing is freed while there are entries that do not tell where their data are", () => {
  const lost = [1n << 40n, (1n << 63n) | 0x10400n | 0x200n, 2n, (1n << 63n) | (1n << 62n) | 0x400n];
  for (const entry of lost) {
    for (const scope of ["leaks", "all"] as const) {
      const { file } = makeImage("image", { clusterSize: 1024 });
      const at = l2EntryOffset(file, 0);
      const held = u64(file, at);
      patchNumber(file, at, 8, entry);
      const { leaksFixed, leaks } = now(repairQcow2(file, scope));
      assertEquals({ leaksFixed, leaks }, { leaksFixed: 0, leaks: 1 }, `${scope} with 0x${entry.toString(16)}`);
      patchNumber(file, at, 8, held);
      now(repairQcow2(file, "all"));
      assertClean(file);
    }
  }
});

Deno.test("a zero cluster with an impossible place loses it, and reads as zeroes", () => {
  const image = makeImage("image", { clusterSize: 1024 });
  patchNumber(image.file, l2EntryOffset(image.file, 0), 8, (1n << 63n) + 0x10201n);
  const { corruptions, leaks } = now(repairQcow2(image.file, "all"));
  assertEquals({ corruptions, leaks }, { corruptions: 0, leaks: 0 });
  assertEquals(disk(image).subarray(0, 1024), new Uint8Array(1024));
});

Deno.test("entries that can be repaired once nothing lies over their table any more are repaired in the same run", () => {
  const { file } = makeImage("image", { extendedL2: true, clusterSize: 16384 });
  const { l1TableOffset } = now(readHeader(file));
  // The refcounts become an L2 table too; as such they have subclusters that are allocated and read as zeroes.
  patchNumber(file, l1TableOffset, 8, u64(file, refcountTable(file)));
  assert(now(repairQcow2(file, "all")).corruptionsFixed > 0);
  file.changes.length = 0;
  const { corruptionsFixed, leaksFixed } = now(repairQcow2(file, "all"));
  assertEquals({ corruptionsFixed, leaksFixed, changes: file.changes }, {
    corruptionsFixed: 0,
    leaksFixed: 0,
    changes: [],
  });
});

Deno.test("tables that lie under an entry of the table before them are repaired one after another in one run", () => {
  const tables = 5;
  const [cluster, perTable] = [1024, 128];
  const image = makeImage("image", { size: tables * perTable * cluster, clusterSize: cluster });
  for (let table = 0; table < tables; table++) write(image, table * perTable * cluster, cluster, 1 + table);
  const held = disk(image);
  for (let table = 0; table < tables; table++) {
    // Zeroes in a place between two clusters: over the table that follows, and what is behind it.
    const next = table + 1 < tables ? l2EntryOffset(image.file, (table + 1) * perTable) : image.file.size;
    const guest = table * perTable + 7;
    patchNumber(image.file, l2EntryOffset(image.file, guest), 8, BigInt(next + 512 + 1));
    held.fill(0, guest * cluster, (guest + 1) * cluster);
  }
  now(repairQcow2(image.file, "all"));
  assertClean(image.file);
  assertEquals(disk(image), held);
});

Deno.test("new refcounts are put where nothing leads to, also not from entries that lead behind the end of the file", () => {
  const image = makeImage("image");
  write(image, 0, 96 * 512, 5);
  const held = disk(image);
  const { file } = image;
  const block = Number(u64(file, refcountTable(file)));
  // Cut off behind the tables, with most of the data, in a row, behind its end; and a refcount block that serves as a table too.
  const end = 2048 + Math.max(block, l2EntryOffset(file, 64), l2EntryOffset(file, 0)) & ~511;
  const lost = file.size - end;
  assert(lost > 20 * 512);
  ends((done) => file.truncate(end, done));
  patchNumber(file, refcountTable(file), 8, BigInt(now(readHeader(file)).l1TableOffset));
  now(repairQcow2(file, "all"));
  assertClean(file);
  const left = disk(image);
  assert(left.every((byte, at) => byte === held[at] || byte === 0));
  now(repairQcow2(file, "all"));
  assertClean(file);
});

Deno.test("the dirty and the corrupt bit are cleared when nothing is wrong any more", () => {
  const { file } = makeImage("image");
  patchNumber(file, HeaderField.INCOMPATIBLE_FEATURES, 8, 3n);
  patchNumber(file, Number(u64(file, refcountTable(file))), 8, 0n);
  now(repairQcow2(file, "all"));
  assertEquals(now(readHeader(file)).incompatibleFeatures, 0n);
});

Deno.test("the corrupt bit stays where something is still wrong", () => {
  const { file } = makeImage("image");
  patchNumber(file, HeaderField.INCOMPATIBLE_FEATURES, 8, 2n);
  patchNumber(file, l2EntryOffset(file, 40), 8, 2n);
  now(repairQcow2(file, "all"));
  assertEquals(now(readHeader(file)).incompatibleFeatures, 2n);
});

Deno.test("an image that was not closed gets right refcounts, or is refused", () => {
  const { file } = makeImage("image.qcow2");
  patchNumber(file, HeaderField.INCOMPATIBLE_FEATURES, 8, 1n);
  file.patch(Number(u64(file, refcountTable(file))), new Uint8Array(512));
  const beyondRepair = file.copy();
  now(rebuildRefcounts(file));
  assertClean(file);
  patchNumber(beyondRepair, l2EntryOffset(beyondRepair, 40), 8, 1n << 40n);
  assertThrows(() => now(rebuildRefcounts(beyondRepair)), Error, "Cannot open image.qcow2: it was not closed");
});

Deno.test("an image that is open for reading only is not repaired", () => {
  const { file } = makeImage("image");
  const readOnly = file.copy({ readOnly: true });
  assertThrows(() => now(repairQcow2(readOnly, "all")), Error, "Cannot repair image: it is open for reading only");
});

Deno.test("a repair of a clean image writes nothing", () => {
  for (const { file } of corpus()) {
    file.changes.length = 0;
    now(repairQcow2(file, "all"));
    assertEquals(file.changes, []);
  }
});
