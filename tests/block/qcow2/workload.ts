/**
 * Random work on an image, beside a plain array of bytes that shows what the disk has to hold.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { type Coroutine, run } from "../../../src/block/coroutine.ts";

/** A step. Places are in parts of a thousand of the disk, so that one workload suits disks of any size. */
export type Step =
  | {
    readonly kind: "write";
    readonly at: number;
    readonly length: number;
    readonly seed: number;
    readonly fua: boolean;
  }
  | { readonly kind: "zero"; readonly at: number; readonly length: number; readonly unmap: boolean }
  | { readonly kind: "compress"; readonly at: number; readonly seed: number }
  | { readonly kind: "discard"; readonly at: number; readonly length: number }
  | { readonly kind: "read"; readonly at: number; readonly length: number }
  | { readonly kind: "flush" }
  | { readonly kind: "reopen" };

const place = { at: fc.nat(4095), length: fc.nat(255) };

/** Any step; most of them write. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      ...place,
      seed: fc.integer({ min: 1, max: 250 }),
      fua: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("zero" as const), ...place, unmap: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("compress" as const),
      at: place.at,
      seed: fc.integer({ min: 1, max: 250 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("discard" as const), ...place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("read" as const), ...place }) },
  { weight: 1, arbitrary: fc.constant({ kind: "flush" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reopen" as const }) },
);

/** Runs a coroutine whose waits end at once. */
export function now<T>(body: Coroutine<T>): T {
  let end: { error: Error | undefined; value: T | undefined } | undefined;
  run(body, (error, value) => {
    end = { error, value };
  });
  if (end === undefined) throw new Error("it waits");
  if (end.error !== undefined) throw end.error;
  return end.value as T;
}

/** Makes a request that ends at once. */
export function ends(start: (done: (error?: Error) => void) => void): void {
  let end: { error: Error | undefined } | undefined;
  start((error) => {
    end = { error };
  });
  if (end === undefined) throw new Error("it waits");
  if (end.error !== undefined) throw end.error;
}

/** All that a disk holds. */
export function contents(disk: BlockDevice): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(disk.size);
  ends((done) => disk.read(0, bytes, done));
  return bytes;
}

/** Bytes that tell where they were written, and by whom. */
export function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = seed + i * 7;
  return bytes;
}

/** The range of a step on a disk, in units of `grain` bytes. */
export function rangeOf(step: { readonly at: number; readonly length: number }, size: number, grain: number) {
  const units = size / grain;
  const start = Math.floor(step.at * units / 4096);
  const count = Math.min(units - start, 1 + Math.floor(step.length * step.length * units / (4 * 65536)));
  return { offset: start * grain, length: count * grain };
}

/** The guest cluster that a step is about, the last of which may be short. */
export function clusterOf(step: { readonly at: number }, disk: BlockDevice): { offset: number; length: number } {
  const cluster = disk.discardGranularity ?? 512;
  const offset = Math.floor(Math.floor(step.at * disk.size / 4096) / cluster) * cluster;
  return { offset, length: Math.min(cluster, disk.size - offset) };
}

/** Writes a cluster compressed. An image whose data lie in a file of their own refuses, and a write in the ordinary way follows. */
function compress(disk: BlockDevice, model: Uint8Array, step: { readonly at: number; readonly seed: number }): void {
  const { offset, length } = clusterOf(step, disk);
  const expected = model.subarray(offset, offset + length);
  expected.set(pattern(length, step.seed));
  disk.writeCompressed?.(offset, expected.slice(), (error) => {
    if (error !== undefined) ends((done) => disk.write(offset, expected.slice(), false, done));
  });
}

/**
 * Does the steps one after another, and compares what is read.
 *
 * @param model What the disk holds; it is kept up to date.
 * @param reopen Closes the disk and opens it again.
 */
export function work(
  disk: BlockDevice,
  model: Uint8Array,
  steps: readonly Step[],
  reopen: (disk: BlockDevice) => BlockDevice,
  grain = 512,
): BlockDevice {
  for (const step of steps) {
    if (step.kind === "flush") {
      ends((done) => disk.flush(done));
      continue;
    }
    if (step.kind === "reopen") {
      disk = reopen(disk);
      continue;
    }
    if (step.kind === "compress") {
      compress(disk, model, step);
      continue;
    }
    const { offset, length } = rangeOf(step, disk.size, grain);
    const expected = model.subarray(offset, offset + length);
    const held = new Uint8Array(length);
    if (step.kind === "write") {
      expected.set(pattern(length, step.seed));
      ends((done) => disk.write(offset, expected.slice(), step.fua, done));
    } else if (step.kind === "zero") {
      expected.fill(0);
      ends((done) => disk.writeZeroes(offset, length, step.unmap, done));
    } else if (step.kind === "discard") {
      ends((done) => disk.discard(offset, length, done));
      ends((done) => disk.read(offset, held, done));
      // What was discarded may be as it was, or zero.
      held.forEach((byte, i) => assertEquals(byte === 0 || byte === expected[i], true));
      expected.set(held);
    } else {
      ends((done) => disk.read(offset, held, done));
      assertEquals(held, expected);
    }
  }
  return disk;
}
