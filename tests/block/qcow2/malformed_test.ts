/**
 * Images of every kind, spoilt in every field: each is refused in one line that says why, or served without harm.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import type { Completion } from "../../../src/block/coroutine.ts";
import { readBitmapDirectory } from "../../../src/block/qcow2/bitmaps.ts";
import { checkQcow2, type CheckResult } from "../../../src/block/qcow2/check.ts";
import { HeaderField, type Qcow2Header, readHeader } from "../../../src/block/qcow2/header.ts";
import { inspect } from "../../../src/block/qcow2/inspection.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { PAGE_CLUSTERS, Use } from "../../../src/block/qcow2/reference_counts.ts";
import { repairQcow2 } from "../../../src/block/qcow2/repair.ts";
import { readSnapshotTable } from "../../../src/block/qcow2/snapshots.ts";
import { StoredRefcounts } from "../../../src/block/qcow2/stored_refcounts.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { qemuImg, withFolder } from "../../support/qemu_img.ts";
import { QEMU_IMG, testNeeding } from "../../support/requirements.ts";
import { runs } from "../../support/runs.ts";
import { corpus, type CorpusImage, patchNumber } from "./corpus.ts";
import { type Site, sitesOf, valuesFor } from "./mutations.ts";
import { now, pattern } from "./workload.ts";

/** Every how many cases one is tried. */
const STRIDE = runs(37, 1);

/** Requests to a file that no work on these small images needs. */
const MOST_REQUESTS = 50_000;

/** Bytes that an image may grow by. */
const MOST_GROWTH = 8 * 1024 * 1024;

/** A file that refuses to go on for ever. */
class BoundedFile extends MemoryFile {
  #left = MOST_REQUESTS;

  static of(original: MemoryFile): BoundedFile {
    const file = new BoundedFile({ name: original.name, kind: original.kind, size: original.size });
    file.patch(0, original.bytes(0, original.size));
    return file;
  }

  get isExhausted(): boolean {
    return this.#left <= 0;
  }

  override read(offset: number, into: Uint8Array, done: Completion): void {
    if (this.#left-- <= 0) throw new Error("it reads for ever");
    super.read(offset, into, done);
  }

  override write(offset: number, from: Uint8Array, done: Completion): void {
    if (this.#left-- <= 0) throw new Error("it writes for ever");
    super.write(offset, from, done);
  }
}

/** A spoilt image. */
interface Case {
  readonly title: string;
  readonly original: CorpusImage;
  readonly site: Site;
  readonly value: bigint;
  readonly spoilt: MemoryFile;
}

/** All cases, or every nth. */
function* cases(images: readonly CorpusImage[], stride: number): Generator<Case> {
  let number = 0;
  for (const original of images) {
    for (const site of sitesOf(original.file)) {
      for (const value of valuesFor(original.file, site)) {
        if (number++ % stride !== 0) continue;
        const spoilt = original.file.copy();
        patchNumber(spoilt, site.offset, site.bytes, value);
        yield { title: `${original.name}: ${site.name} = 0x${value.toString(16)}`, original, site, value, spoilt };
      }
    }
  }
}

/** Does something that may be refused, but only in one line and not by a defect. @returns its result, unless it was refused. */
function refusable<T>(title: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    assertIsRefusal(title, error);
    return undefined;
  }
}

function assertIsRefusal(title: string, error: unknown): void {
  for (let cause = error; cause !== undefined; cause = (cause as Error).cause) {
    const defect = [TypeError, RangeError, ReferenceError, SyntaxError].some((type) => cause instanceof type);
    const { message } = cause as Error;
    // A stack takes longer to write out than all the rest of a case.
    if (defect || message === "" || message.includes("\n")) throw new Error(`${title}: ${(cause as Error).stack}`);
  }
}

/** A request to a disk, which may fail. */
function request(title: string, start: (done: Completion) => void): void {
  let ended = false;
  start((error) => {
    ended = true;
    if (error !== undefined) assertIsRefusal(title, error);
  });
  assert(ended, `${title}: a request does not end`);
}

/** What a guest may do, at the beginning of the disk, in the middle and at its end. */
function useDisk(title: string, disk: BlockDevice): void {
  const piece = Math.min(disk.size, 4096);
  const places = [0, 1024, 3072, 10_240, 24_576, 47_104, disk.size - piece];
  for (const place of new Set(places)) {
    if (place < 0 || place + piece > disk.size) continue;
    const half = Math.floor(piece / 1024) * 512;
    request(title, (done) => disk.read(place, new Uint8Array(piece), done));
    request(title, (done) => disk.write(place, pattern(half, 99), false, done));
    request(title, (done) => disk.discard(place + half, piece - half, done));
    request(title, (done) => disk.writeZeroes(place, half, true, done));
    request(title, (done) => disk.write(place + half, pattern(piece - half, 98), true, done));
    request(title, (done) => disk.flush(done));
  }
  request(title, (done) => disk.close(done));
}

function serve({ title, original }: Case, file: MemoryFile): boolean {
  const { dataFile, backing } = original;
  const disk = refusable(title, () =>
    now(openQcow2(file, {
      discard: true,
      dataFile: dataFile?.copy(),
      backing: backing && openRaw(backing),
    })));
  if (disk !== undefined) useDisk(title, disk);
  return disk !== undefined;
}

Deno.test("looking at a spoilt image tells what is wrong, or what it holds", () => {
  for (const { title, spoilt } of cases(corpus(), STRIDE)) {
    const file = BoundedFile.of(spoilt);
    const header = refusable(title, () => now(readHeader(file)));
    if (header === undefined) continue;
    refusable(title, () => now(readSnapshotTable(file, header)));
    refusable(title, () => now(readBitmapDirectory(file, header)));
    assert(!file.isExhausted, title);
  }
});

Deno.test("a check of a spoilt image ends, and changes nothing", () => {
  for (const { title, spoilt } of cases(corpus(), STRIDE)) {
    const file = BoundedFile.of(spoilt);
    refusable(title, () => now(checkQcow2(file)));
    assert(!file.isExhausted && file.changes.length === 0, title);
  }
});

Deno.test("a repair of a spoilt image ends, makes no errors, and has nothing more to do", () => {
  for (const { title, spoilt } of cases(corpus(), STRIDE)) {
    const before = refusable(title, () => now(checkQcow2(spoilt)));
    for (const scope of ["leaks", "all"] as const) {
      const file = BoundedFile.of(spoilt);
      const after = refusable(title, () => now(repairQcow2(file, scope)));
      assert(!file.isExhausted && file.size <= spoilt.size + MOST_GROWTH, title);
      if (before === undefined || after === undefined) continue;
      assert(
        before.corruptions > 0 || after.corruptions === 0,
        `${title}: ${after.corruptions} errors came into being`,
      );
      const { corruptionsFixed, leaksFixed } = now(repairQcow2(file, scope));
      assertEquals({ corruptionsFixed, leaksFixed }, { corruptionsFixed: 0, leaksFixed: 0 }, title);
    }
  }
});

/** Fields that give everything else another meaning. */
const REINTERPRETING: readonly number[] = [
  HeaderField.VERSION,
  HeaderField.CLUSTER_BITS,
  HeaderField.L1_SIZE,
  HeaderField.L1_TABLE_OFFSET,
  HeaderField.REFCOUNT_TABLE_OFFSET,
  HeaderField.REFCOUNT_TABLE_CLUSTERS,
  HeaderField.INCOMPATIBLE_FEATURES,
  HeaderField.REFCOUNT_ORDER,
];

/** The clusters that belong to snapshots, which the engine leaves alone. */
function foreignClusters({ file }: CorpusImage): number[] {
  const header = now(readHeader(file));
  const clusters = clustersUsedAs(file, header, Use.SNAPSHOTS);
  for (const { l1TableOffset, l1Size } of now(readSnapshotTable(file, header)).snapshots) {
    const asActive: Qcow2Header = { ...header, l1TableOffset, l1Size, snapshotCount: 0 };
    clusters.push(...clustersUsedAs(file, asActive, Use.L1_TABLE | Use.L2_TABLE | Use.DATA | Use.COMPRESSED));
  }
  return [...new Set(clusters)];
}

function clustersUsedAs(file: MemoryFile, header: Qcow2Header, uses: number): number[] {
  const { counts } = now(inspect(file, header));
  const clusters: number[] = [];
  for (const page of counts.pages()) {
    for (let cluster = page * PAGE_CLUSTERS; cluster < (page + 1) * PAGE_CLUSTERS; cluster++) {
      if ((counts.uses(cluster) & uses) !== 0) clusters.push(cluster);
    }
  }
  return clusters;
}

/** Those clusters that the spoilt field does not lead to, and whose refcounts it left alone. */
function protectedClusters({ original, site, value, spoilt }: Case, foreign: readonly number[]): number[] {
  if (site.name.startsWith("L1 entry")) return [];
  const [stored, before] = [spoilt, original.file].map((file) =>
    now(StoredRefcounts.read(file, now(readHeader(file))))
  );
  const named = Number(value & 0x00ffffffffffffffn) / stored.clusterSize;
  return foreign.filter((cluster) =>
    Math.abs(cluster - named) > 2 && (now(stored.get(cluster)) ?? 0) >= now(before.get(cluster))!
  );
}

Deno.test("work on a spoilt image ends, and leaves alone what belongs to others", () => {
  for (const original of corpus()) {
    const foreign = foreignClusters(original);
    const clusterSize = 2 ** now(readHeader(original.file)).clusterBits;
    for (const spoiling of cases([original], STRIDE)) {
      const { title, site, spoilt } = spoiling;
      const file = BoundedFile.of(spoilt);
      const served = serve(spoiling, file);
      assert(!file.isExhausted && file.size <= spoilt.size + MOST_GROWTH, title);
      if (!served || REINTERPRETING.includes(site.offset)) continue;
      for (const cluster of protectedClusters(spoiling, foreign)) {
        const [before, after] = [spoilt, file].map((image) => image.bytes(cluster * clusterSize, clusterSize));
        assertEquals(after, before, `${title}: cluster ${cluster}`);
      }
    }
  }
});

Deno.test("work on an image whose spoilt field does no harm leaves it without errors", () => {
  for (const spoiling of cases(corpus(), STRIDE)) {
    const { title, spoilt } = spoiling;
    const before = refusable(title, () => now(checkQcow2(spoilt)));
    if (before?.corruptions !== 0) continue;
    const file = BoundedFile.of(spoilt);
    if (serve(spoiling, file)) assertEquals(now(checkQcow2(file)).corruptions, 0, title);
  }
});

type Verdict = "refused" | "errors" | "leaks" | "clean";

function verdict(
  { corruptions, checkErrors, leaks }: Pick<CheckResult, "corruptions" | "checkErrors" | "leaks">,
): Verdict {
  return corruptions + checkErrors > 0 ? "errors" : leaks > 0 ? "leaks" : "clean";
}

/** What QEMU makes of an image. */
function qemuVerdict(folder: string): Verdict {
  const { stdout } = qemuImg(folder, "check", "--output=json", "-f", "qcow2", "image");
  if (stdout === "") return "refused";
  const { corruptions = 0, leaks = 0, "check-errors": checkErrors } = JSON.parse(stdout);
  return verdict({ corruptions, checkErrors, leaks });
}

/**
 * What we find and QEMU does not: data of a data file in another place than the guest's, a zero flag where the format has none, tables
 * under other things even where the refcounts agree, names that are no text, and a bitmaps bit without bitmaps.
 */
const STRICTER =
  /at the guest offset|L2 entry 0x[0-9a-f]*1 has reserved bits|is used as|not UTF-8|bitmaps bit of autoclear_features/;

testNeeding([QEMU_IMG], "a check finds what qemu-img finds, and no more but for what is said here", () => {
  withFolder((folder) => {
    for (const { title, original, spoilt } of cases(corpus(), runs(161, 23))) {
      let said = "";
      const report = (line: string) => said ||= line;
      let ours: Verdict = "refused";
      try {
        ours = verdict(now(checkQcow2(spoilt, { report })));
      } catch (error) {
        said = (error as Error).message;
      }
      spoilt.save(`${folder}/image`);
      original.dataFile?.save(`${folder}/data`);
      original.backing?.save(`${folder}/backing`);
      const theirs = qemuVerdict(folder);
      // It looks at fields that nothing depends on, such as the place of a name of no length.
      if (theirs === "refused" || ours === theirs || STRICTER.test(said)) continue;
      assertEquals([ours, theirs], ["refused", "errors"], `${title}: ${said}`);
    }
  });
});
