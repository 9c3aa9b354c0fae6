import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { run } from "../../../src/block/coroutine.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { parseHeader } from "../../../src/block/qcow2/header.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { runs } from "../../support/runs.ts";
import { PowerLossFile, randomNumbers } from "./power_loss_file.ts";
import { contents, ends, now, pattern } from "./workload.ts";

/** With clusters of 512 bytes and refcounts of 64 bits a cluster of the refcount table counts for 2 MiB. */
const SMALL = { clusterSize: 512, refcountBits: 64 } as const;

function tableOf(file: MemoryFile): { offset: number; clusters: number } {
  const { refcountTableOffset, refcountTableClusters } = parseHeader(file.bytes(0, 512), file);
  return { offset: refcountTableOffset, clusters: refcountTableClusters };
}

function assertSound(file: MemoryFile, mayLeak: boolean): void {
  const { corruptions, checkErrors, leaks } = now(checkQcow2(file));
  assertEquals({ corruptions, checkErrors, leaks: mayLeak ? 0 : leaks }, { corruptions: 0, checkErrors: 0, leaks: 0 });
}

Deno.test("an image that outgrows its refcount table gets a larger one, and keeps its data", () => {
  const file = new MemoryFile();
  const size = 9 * 1024 * 1024;
  now(createQcow2(file, { ...SMALL, size }));
  const before = tableOf(file);
  const disk = now(openQcow2(file));
  const model = pattern(size, 11);
  for (let at = 0; at < size; at += 1 << 18) {
    ends((done) => disk.write(at, model.subarray(at, at + (1 << 18)), false, done));
  }
  ends((done) => disk.close(done));
  const after = tableOf(file);
  assert(after.clusters > before.clusters && after.offset !== before.offset);
  assertSound(file, false);
  assertEquals(contents(now(openQcow2(file))), model);
});

/** Writes on behind what is filled, with a flush after each piece, and loses power after some turns. */
function crashWhileWriting(file: PowerLossFile, model: Uint8Array, filled: number, turns: number): MemoryFile {
  run(openQcow2(file), (error, disk) => {
    if (error !== undefined || disk === undefined) throw error;
    const next = (at: number) => {
      const part = model.subarray(at, at + 32768);
      if (part.length > 0) disk.write(at, part, true, () => next(at + part.length));
    };
    next(filled);
  });
  for (let i = 0; i < turns && !file.isIdle; i++) file.turn();
  return file.crash();
}

Deno.test("a loss of power while the refcount table moves costs nothing that was flushed", () => {
  const size = 2_400_000 - 2_400_000 % 512;
  const image = new MemoryFile();
  now(createQcow2(image, { ...SMALL, size }));
  const begun = now(openQcow2(image));
  // So much that the next few writes outgrow the table.
  const filled = 1_760_256;
  const model = pattern(size, 11);
  ends((done) => begun.write(0, model.subarray(0, filled), false, done));
  ends((done) => begun.close(done));
  assertEquals(tableOf(image).clusters, 1);
  let moved = 0;
  fc.assert(
    fc.property(fc.integer(), fc.nat(3000), (seed, turns) => {
      const random = randomNumbers(seed);
      const file = new PowerLossFile(image, random);
      const survivor = crashWhileWriting(file, model, filled, turns);
      moved += tableOf(survivor).clusters > 1 ? 1 : 0;
      assertSound(survivor, true);
      assertEquals(contents(now(openQcow2(survivor))).subarray(0, filled), model.subarray(0, filled));
    }),
    { numRuns: runs(30, 120) },
  );
  assert(moved > 5);
});
