import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { run } from "../../../src/block/coroutine.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import type { CreateOptions } from "../../../src/block/qcow2/create_options.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { errorChain } from "../../../src/error_chain.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { runs } from "../../support/runs.ts";
import { assertClean } from "./corpus.ts";
import { PowerLossFile, randomNumbers } from "./power_loss_file.ts";
import { contents, ends, now } from "./workload.ts";

const CLUSTER = 4096;
const CLUSTERS = 48;

function makeImage(options: Partial<CreateOptions> = {}): MemoryFile {
  const file = new MemoryFile();
  now(createQcow2(file, { size: CLUSTERS * CLUSTER, clusterSize: CLUSTER, ...options }));
  return file;
}

/** A cluster that compresses to about `share` of its size, and tells `value` from others. */
function cluster(value: number, share = 0.3): Uint8Array {
  const random = randomNumbers(value);
  return Uint8Array.from({ length: CLUSTER }, (_, i) => i < CLUSTER * share ? Math.floor(random() * 256) : value);
}

Deno.test("compressed clusters share host clusters", () => {
  for (const compressionType of ["zlib", "zstd"] as const) {
    const file = makeImage({ compressionType });
    const before = file.size;
    const disk = now(openQcow2(file));
    for (let i = 0; i < 32; i++) ends((done) => disk.writeCompressed!(i * CLUSTER, cluster(i), done));
    ends((done) => disk.close(done));
    assertClean(file);
    // A third each, and one L2 table.
    assert(file.size - before <= 13 * CLUSTER, `${(file.size - before) / CLUSTER} clusters`);
    const held = contents(now(openQcow2(file)));
    for (let i = 0; i < 32; i++) assertEquals(held.subarray(i * CLUSTER, (i + 1) * CLUSTER), cluster(i));
  }
});

Deno.test("where refcounts cannot tell of two, each compressed cluster has its own", () => {
  const file = makeImage({ refcountBits: 1 });
  const disk = now(openQcow2(file));
  for (let i = 0; i < 8; i++) ends((done) => disk.writeCompressed!(i * CLUSTER, cluster(i), done));
  ends((done) => disk.close(done));
  assertClean(file);
});

Deno.test("what does not become smaller is stored as it is", () => {
  const file = makeImage();
  const disk = now(openQcow2(file));
  ends((done) => disk.writeCompressed!(0, cluster(1, 1), done));
  ends((done) => disk.close(done));
  assertEquals(now(checkQcow2(file)).compressedClusters, 0);
  assertEquals(contents(now(openQcow2(file))).subarray(0, CLUSTER), cluster(1, 1));
});

Deno.test("the last cluster of a disk may be short", () => {
  const file = makeImage({ size: 2 * CLUSTER + 512 });
  const disk = now(openQcow2(file));
  ends((done) => disk.writeCompressed!(2 * CLUSTER, new Uint8Array(512).fill(7), done));
  ends((done) => disk.close(done));
  assertClean(file);
  assertEquals(contents(now(openQcow2(file))).subarray(2 * CLUSTER), new Uint8Array(512).fill(7));
});

Deno.test("anything but one cluster is a defect of the caller", () => {
  const disk = now(openQcow2(makeImage()));
  const write = (offset: number, length: number) => disk.writeCompressed!(offset, new Uint8Array(length), () => {});
  assertThrows(() => write(512, CLUSTER), RangeError);
  assertThrows(() => write(0, 512), RangeError);
  assertThrows(() => write(0, 2 * CLUSTER), RangeError);
  assertThrows(() => write(CLUSTERS * CLUSTER, CLUSTER), RangeError);
});

Deno.test("an image whose data are in a file of their own refuses", () => {
  const [file, dataFile] = [new MemoryFile(), new MemoryFile()];
  now(createQcow2(file, { size: CLUSTER * 4, clusterSize: CLUSTER, dataFile: "data", dataHostFile: dataFile }));
  const disk = now(openQcow2(file, { dataFile }));
  let failure: Error | undefined;
  disk.writeCompressed!(0, cluster(1), (error) => {
    failure = error;
  });
  assertStringIncludes(errorChain(failure), "holds no compressed clusters");
});

/** An image with requests in flight, and what each cluster may hold. */
class Load {
  readonly file: PowerLossFile;
  readonly random: () => number;
  readonly disk: BlockDevice;
  /** What each cluster holds; undefined after a failure. */
  readonly held: (Uint8Array | undefined)[] = Array.from({ length: CLUSTERS }, () => new Uint8Array(CLUSTER));
  readonly #busy = new Set<number>();
  #value = 0;

  constructor(refcountBits: number, seed: number) {
    this.random = randomNumbers(seed);
    this.file = new PowerLossFile(makeImage({ refcountBits }), this.random);
    let disk: BlockDevice | undefined;
    run(openQcow2(this.file, { discard: true }), (_error, value) => {
      disk = value;
    });
    this.turnUntilIdle();
    this.disk = disk as BlockDevice;
  }

  turnUntilIdle(): void {
    while (!this.file.isIdle) this.file.turn();
  }

  /** Starts requests, most of which compress, and completes others. */
  keepBusy(steps: number): void {
    for (let i = 0; i < steps; i++) {
      if (this.random() < 0.5) this.file.turn();
      else this.#start();
    }
  }

  #start(): void {
    const kind = this.random();
    if (kind < 0.05) return this.disk.flush(() => {});
    const at = Math.floor(this.random() * CLUSTERS);
    if (this.#busy.has(at)) return;
    this.#busy.add(at);
    const data = kind < 0.9 ? cluster(++this.#value % 256, this.random() * 1.1) : new Uint8Array(CLUSTER);
    const done = (error?: Error) => {
      this.#busy.delete(at);
      this.held[at] = error === undefined ? data : undefined;
    };
    if (kind < 0.75) this.disk.writeCompressed!(at * CLUSTER, data, done);
    else if (kind < 0.9) this.disk.write(at * CLUSTER, data, false, done);
    else this.disk.writeZeroes(at * CLUSTER, CLUSTER, true, done);
  }

  /** Closes the image, and checks it and what it holds. */
  check(): void {
    this.turnUntilIdle();
    let failure: Error | undefined;
    this.disk.close((error) => {
      failure = error;
    });
    this.turnUntilIdle();
    assertEquals(failure, undefined);
    assertClean(this.file.current);
    const disk = contents(now(openQcow2(this.file.current)));
    this.held.forEach((expected, i) => {
      if (expected === undefined) return;
      const found = disk.subarray(i * CLUSTER, (i + 1) * CLUSTER);
      assert(found.every((byte, at) => byte === expected[at]), `cluster ${i}`);
    });
  }
}

const anyRefcountBits = fc.constantFrom(1, 2, 4, 16);

Deno.test("compressed writes among others, completed in any order, leave an image without errors or leaks", () => {
  fc.assert(
    fc.property(anyRefcountBits, fc.integer(), fc.nat(500), (refcountBits, seed, steps) => {
      const load = new Load(refcountBits, seed);
      load.keepBusy(steps);
      load.check();
    }),
    { numRuns: runs(20, 80) },
  );
});

Deno.test("compressed writes that fail on the host leave an image without errors or leaks", () => {
  fc.assert(
    fc.property(anyRefcountBits, fc.integer(), fc.nat(400), (refcountBits, seed, steps) => {
      const load = new Load(refcountBits, seed);
      load.file.failures = 0.1;
      load.keepBusy(steps);
      load.turnUntilIdle();
      load.file.failures = 0;
      load.keepBusy(steps);
      load.check();
    }),
    { numRuns: runs(15, 60) },
  );
});

Deno.test("after a loss of power among compressed writes the metadata agree", () => {
  fc.assert(
    fc.property(anyRefcountBits, fc.integer(), fc.nat(500), (refcountBits, seed, steps) => {
      const load = new Load(refcountBits, seed);
      load.keepBusy(steps);
      const { corruptions, checkErrors } = now(checkQcow2(load.file.crash()));
      assertEquals({ corruptions, checkErrors }, { corruptions: 0, checkErrors: 0 });
    }),
    { numRuns: runs(20, 80) },
  );
});
