import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import type { CreateOptions } from "../../../src/block/qcow2/create_options.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { runs } from "../../support/runs.ts";
import { anyStep, contents, ends, now, pattern, type Step, work } from "./workload.ts";

/** What an image of a property test is. */
interface Shape {
  readonly clusterBits: number;
  readonly version: 2 | 3;
  readonly refcountOrder: number;
  readonly extendedL2: boolean;
  readonly lazyRefcounts: boolean;
  readonly dataFile: "none" | "own" | "raw";
  readonly preallocation: "off" | "metadata";
  /** Sectors of a backing file. */
  readonly backing: number | undefined;
  readonly sectors: number;
  readonly discard: boolean;
  readonly writeCache: boolean;
}

const anyShape: fc.Arbitrary<Shape> = fc.record({
  clusterBits: fc.integer({ min: 9, max: 12 }),
  version: fc.constantFrom(2 as const, 3 as const),
  refcountOrder: fc.integer({ min: 0, max: 6 }),
  extendedL2: fc.boolean(),
  lazyRefcounts: fc.boolean(),
  dataFile: fc.constantFrom("none" as const, "none" as const, "own" as const, "raw" as const),
  preallocation: fc.constantFrom("off" as const, "off" as const, "metadata" as const),
  backing: fc.option(fc.integer({ min: 1, max: 300 }), { nil: undefined }),
  sectors: fc.integer({ min: 1, max: 300 }),
  discard: fc.boolean(),
  writeCache: fc.boolean(),
});

/** Leaves out of a shape what does not go together. */
function settle(shape: Shape): Shape & { readonly options: CreateOptions } {
  const v3 = shape.version === 3;
  const extendedL2 = v3 && shape.extendedL2;
  const dataFile = v3 ? shape.dataFile : "none";
  const backing = dataFile === "raw" ? undefined : shape.backing;
  const preallocation = backing === undefined ? shape.preallocation : "off";
  const clusterBits = extendedL2 ? 14 : shape.clusterBits;
  return {
    ...shape,
    clusterBits,
    extendedL2,
    dataFile,
    backing,
    options: {
      size: shape.sectors * 512,
      version: shape.version,
      clusterSize: 2 ** clusterBits,
      refcountBits: v3 ? 2 ** shape.refcountOrder : 16,
      lazyRefcounts: v3 && shape.lazyRefcounts,
      extendedL2,
      preallocation,
      ...(backing === undefined ? {} : { backingFile: "backing", backingFormat: "raw" }),
      ...(dataFile === "none" ? {} : { dataFile: "data", dataFileRaw: dataFile === "raw" }),
    },
  };
}

/** An image in memory with what belongs to it. */
function makeImage(shape: Shape) {
  const { options, backing, dataFile, discard, writeCache } = settle(shape);
  const file = new MemoryFile();
  const data = dataFile === "none" ? undefined : new MemoryFile({ name: "data" });
  now(createQcow2(file, { ...options, dataHostFile: data }));
  const below = new MemoryFile({ name: "backing" });
  if (backing !== undefined) ends((done) => below.write(0, pattern(backing * 512, 3), done));
  const model = new Uint8Array(options.size);
  model.set(below.bytes(0, Math.min(below.size, model.length)));
  const open = (): BlockDevice =>
    now(openQcow2(file, {
      discard,
      writeCache,
      ...(backing === undefined ? {} : { backing: openRaw(below) }),
      ...(data === undefined ? {} : { dataFile: data }),
    }));
  return { file, data, model, open, isRaw: dataFile === "raw" };
}

function assertClean(file: MemoryFile): void {
  const { corruptions = 0, leaks = 0 } = now(checkQcow2(file)) as { corruptions?: number; leaks?: number };
  assertEquals({ corruptions, leaks }, { corruptions: 0, leaks: 0 });
}

function holds(shape: Shape, steps: readonly Step[]): void {
  const { file, data, model, open, isRaw } = makeImage(shape);
  const reopen = (disk: BlockDevice) => {
    ends((done) => disk.close(done));
    assertClean(file);
    return open();
  };
  const disk = reopen(work(open(), model, steps, reopen));
  assertEquals(contents(disk), model);
  ends((done) => disk.close(done));
  if (isRaw) assertEquals(data?.bytes(0, model.length), model);
}

Deno.test("an image of any kind holds what was written, and is clean whenever it was closed", () => {
  fc.assert(fc.property(anyShape, fc.array(anyStep, { maxLength: 40 }), holds), { numRuns: runs(500, 5000) });
});
