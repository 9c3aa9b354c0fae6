import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { runs } from "../../support/runs.ts";
import { anyStep, clusterOf, ends, now, pattern, rangeOf, type Step } from "./workload.ts";

const SIZE = 256 * 1024;

/** Metadata of the images below lie in their first clusters. */
const METADATA_CLUSTERS = 24;

/** A change of some bytes in a cluster of metadata. */
interface Damage {
  readonly cluster: number;
  readonly at: number;
  readonly bytes: Uint8Array;
}

const anyDamage: fc.Arbitrary<Damage> = fc.record({
  cluster: fc.nat(METADATA_CLUSTERS - 1),
  // Most of what tables hold is at their beginning.
  at: fc.oneof(fc.nat(127), fc.nat(4095)),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc.constantFrom(Uint8Array.of(0xff), Uint8Array.of(0), Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0x10, 0)),
  ),
});

/** Images with data in some places, zeroes in some, and nothing in others. */
function makeImage(clusterSize: number, extendedL2: boolean): MemoryFile {
  const file = new MemoryFile();
  now(createQcow2(file, { size: SIZE, clusterSize, extendedL2 }));
  const disk = now(openQcow2(file, { discard: true }));
  for (let at = 0; at < SIZE; at += 32768) ends((done) => disk.write(at, pattern(9000, 1 + at / 32768), false, done));
  ends((done) => disk.writeZeroes(65536, 65536, true, done));
  ends((done) => disk.close(done));
  return file;
}

const IMAGES = [makeImage(512, false), makeImage(4096, false), makeImage(16384, true)];

/** Makes a request that has to end, once, with or without an error that is the image's. */
function endsSomehow(start: (done: (error?: Error) => void) => void): void {
  let times = 0;
  start((error) => {
    times++;
    for (let next: unknown = error; next instanceof Error; next = next.cause) {
      assert(
        !(next instanceof TypeError || next instanceof RangeError || next instanceof ReferenceError),
        next.message,
      );
    }
  });
  assertEquals(times, 1);
}

function doStep(disk: BlockDevice, step: Step): void {
  if (step.kind === "flush" || step.kind === "reopen") return endsSomehow((done) => disk.flush(done));
  if (step.kind === "compress") {
    const { offset, length } = clusterOf(step, disk);
    // A disk that was made to have no size has no clusters.
    if (length > 0) endsSomehow((done) => disk.writeCompressed!(offset, pattern(length, step.seed), done));
    return;
  }
  const { offset, length } = rangeOf(step, disk.size, 512);
  if (step.kind === "write") endsSomehow((done) => disk.write(offset, pattern(length, step.seed), step.fua, done));
  else if (step.kind === "zero") endsSomehow((done) => disk.writeZeroes(offset, length, step.unmap, done));
  else if (step.kind === "discard") endsSomehow((done) => disk.discard(offset, length, done));
  else endsSomehow((done) => disk.read(offset, new Uint8Array(length), done));
}

Deno.test("damaged metadata are refused, or every request ends", () => {
  fc.assert(
    fc.property(
      fc.nat(IMAGES.length - 1),
      fc.array(anyDamage, { minLength: 1, maxLength: 4 }),
      fc.array(anyStep, { maxLength: 20 }),
      (which, damages, steps) => {
        const file = IMAGES[which].copy();
        const cluster = [512, 4096, 16384][which];
        for (const { cluster: index, at, bytes } of damages) file.patch(index * cluster + at % cluster, bytes);
        let disk: BlockDevice;
        try {
          disk = now(openQcow2(file, { discard: true }));
        } catch (error) {
          const { message } = error as Error;
          assert(/^Cannot [^\n]*$/.test(message), message);
          return;
        }
        // A disk that claims to be large is not read as a whole.
        if (disk.size > 16 * SIZE) return;
        for (const step of steps) doStep(disk, step);
        endsSomehow((done) => disk.close(done));
      },
    ),
    { numRuns: runs(1000, 5000) },
  );
});
