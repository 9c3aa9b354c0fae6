import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { type Coroutine, run } from "../../../src/block/coroutine.ts";
import type { HostFile } from "../../../src/block/host_file.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { runs } from "../../support/runs.ts";
import { PowerLossFile, randomNumbers } from "./power_loss_file.ts";
import { contents, now } from "./workload.ts";

const SECTORS = 128;

/** What each byte of the backing file is. No request writes it. */
const BACKED = 255;

/** Options of the images that crash: small tables, so that all of them change, grow and move. */
const anyImage = fc.record({
  clusterSize: fc.constantFrom(512, 1024, 2048),
  refcountBits: fc.constantFrom(1, 8, 16, 64),
  lazyRefcounts: fc.boolean(),
  extendedL2: fc.constantFrom(false, false, false, true),
  preallocation: fc.constantFrom("off" as const, "metadata" as const),
  /** Sectors of a backing file. */
  backed: fc.option(fc.integer({ min: 1, max: SECTORS + 20 }), { nil: 0 }),
});

/** What a sector may hold after a crash: the number that was written to it last before a flush, or any later one. */
class Expectation {
  readonly #possible: Set<number>[];
  readonly #last: number[];
  /** How many requests have changed a sector. */
  readonly #changes = new Array<number>(SECTORS).fill(0);
  readonly #busy = new Set<number>();

  /** @param backed Sectors that hold {@linkcode BACKED} at the beginning; those behind them hold 0. */
  constructor(backed: number) {
    this.#last = Array.from({ length: SECTORS }, (_, i) => i < backed ? BACKED : 0);
    this.#possible = this.#last.map((value) => new Set([value]));
  }

  isBusy(first: number, count: number): boolean {
    for (let i = first; i < first + count; i++) if (this.#busy.has(i)) return true;
    return false;
  }

  begins(first: number, count: number, value: number): void {
    for (let i = first; i < first + count; i++) {
      this.#busy.add(i);
      this.#changes[i]++;
      this.#possible[i].add(value);
    }
  }

  ends(first: number, count: number, value: number, failed: boolean): void {
    for (let i = first; i < first + count; i++) {
      this.#busy.delete(i);
      // What failed may be there in part. Nothing can be said of it until it is written again.
      this.#last[i] = failed ? -1 : value;
    }
  }

  /** A write ended that was to be durable at once. */
  endsDurably(first: number, count: number, value: number): void {
    for (let i = first; i < first + count; i++) this.#possible[i] = new Set([value]);
  }

  /** A discard ended: what is there now is one of what may be there, and may change no more. */
  discarded(first: number, count: number, held: Uint8Array): void {
    for (let i = 0; i < count; i++) this.ends(first + i, 1, held[i * 512], false);
  }

  /** Begins a flush. @returns what is to be called at its end. */
  flushes(): () => void {
    const covered = this.#changes.map((changes, i) => this.#busy.has(i) || this.#last[i] === -1 ? -1 : changes);
    return () =>
      covered.forEach((changes, i) => {
        // Only if nothing was written meanwhile is there just the last value.
        if (changes === this.#changes[i]) this.#possible[i] = new Set([this.#last[i]]);
      });
  }

  check(disk: Uint8Array): void {
    for (let i = 0; i < SECTORS; i++) {
      const sector = disk.subarray(i * 512, (i + 1) * 512);
      assert(sector.every((byte) => byte === sector[0]), `sector ${i} is torn`);
      assert(this.#possible[i].has(sector[0]), `sector ${i} holds ${sector[0]}, not any of ${[...this.#possible[i]]}`);
    }
  }

  /** With no request in flight and none failed, each sector holds what was written last. */
  checkLast(disk: Uint8Array): void {
    this.#last.forEach((value, i) => value === -1 || assertEquals(disk[i * 512], value, `sector ${i}`));
  }
}

interface Load {
  readonly file: PowerLossFile;
  readonly disk: BlockDevice;
  readonly expectation: Expectation;
  readonly random: () => number;
}

/** Starts a request somewhere that no other one is at work. */
function startRequest({ disk, expectation, random }: Load, value: number): void {
  const kind = random();
  if (kind < 0.15) {
    const flushed = expectation.flushes();
    disk.flush((error) => error === undefined && flushed());
    return;
  }
  const first = Math.floor(random() * SECTORS);
  const count = Math.min(SECTORS - first, 1 + Math.floor(random() * random() * 40));
  if (expectation.isBusy(first, count)) return;
  if (kind < 0.75) {
    expectation.begins(first, count, value);
    const fua = random() < 0.1;
    disk.write(first * 512, new Uint8Array(count * 512).fill(value), fua, (error) => {
      expectation.ends(first, count, value, error !== undefined);
      if (fua && error === undefined) expectation.endsDurably(first, count, value);
    });
  } else if (kind < 0.9) {
    expectation.begins(first, count, 0);
    const done = (error?: Error) => expectation.ends(first, count, 0, error !== undefined);
    disk.writeZeroes(first * 512, count * 512, random() < 0.5, done);
  } else {
    expectation.begins(first, count, 0);
    disk.discard(first * 512, count * 512, (error) => {
      const held = new Uint8Array(count * 512);
      const failed = () => expectation.ends(first, count, 0, true);
      if (error !== undefined) return failed();
      disk.read(first * 512, held, (error) => error ? failed() : expectation.discarded(first, count, held));
    });
  }
}

function turnUntilIdle(file: PowerLossFile): void {
  while (!file.isIdle) file.turn();
}

/** Opens an image with its backing file, if it has one. */
function* openWith(file: HostFile, backed: number): Coroutine<BlockDevice> {
  if (backed === 0) return yield* openQcow2(file, { discard: true });
  const below = new MemoryFile();
  below.patch(0, new Uint8Array(backed * 512).fill(BACKED));
  return yield* openQcow2(file, { discard: true, backing: openRaw(below) });
}

function openLater(file: PowerLossFile, backed: number): BlockDevice {
  let disk: BlockDevice | undefined;
  run(openWith(file, backed), (error, value) => {
    if (error !== undefined) throw error;
    disk = value;
  });
  turnUntilIdle(file);
  return disk as BlockDevice;
}

type Image = typeof anyImage extends fc.Arbitrary<infer T> ? T : never;

function makeLoad({ backed, extendedL2, clusterSize, ...rest }: Image, seed: number): Load {
  const memory = new MemoryFile();
  now(createQcow2(memory, {
    ...rest,
    extendedL2,
    size: SECTORS * 512,
    clusterSize: extendedL2 ? 16384 : clusterSize,
    ...(backed === 0 ? {} : { backingFile: "backing", backingFormat: "raw", preallocation: "off" }),
  }));
  const random = randomNumbers(seed);
  const file = new PowerLossFile(memory, random);
  return { file, disk: openLater(file, backed), expectation: new Expectation(backed), random };
}

/** Keeps requests in flight for some time. */
function keepBusy(load: Load, steps: number): void {
  for (let i = 0; i < steps; i++) {
    if (load.random() < 0.4) startRequest(load, 1 + i % 250);
    else load.file.turn();
  }
}

function close({ disk, file }: Load): void {
  let failure: Error | undefined;
  disk.close((error) => {
    failure = error;
  });
  turnUntilIdle(file);
  if (failure !== undefined) throw failure;
}

Deno.test("after a loss of power at any point the metadata agree, and what was flushed is there", () => {
  fc.assert(
    fc.property(anyImage, fc.integer(), fc.nat(600), (image, seed, steps) => {
      const load = makeLoad(image, seed);
      keepBusy(load, steps);
      const survivor = load.file.crash();
      const { corruptions, checkErrors } = now(checkQcow2(survivor));
      assertEquals({ corruptions, checkErrors }, { corruptions: 0, checkErrors: 0 });
      load.expectation.check(contents(now(openWith(survivor, image.backed))));
    }),
    { numRuns: runs(300, 2000) },
  );
});

/** Closes an image, which then has neither errors nor leaks, and holds what was written last. */
function closeSoundly(load: Load, { backed }: Image): void {
  close(load);
  const { corruptions, checkErrors, leaks } = now(checkQcow2(load.file.current));
  assertEquals({ corruptions, checkErrors, leaks }, { corruptions: 0, checkErrors: 0, leaks: 0 });
  load.expectation.checkLast(contents(now(openWith(load.file.current, backed))));
}

Deno.test("requests in any order leave an image without errors or leaks", () => {
  fc.assert(
    fc.property(anyImage, fc.integer(), fc.nat(600), (image, seed, steps) => {
      const load = makeLoad(image, seed);
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      closeSoundly(load, image);
    }),
    { numRuns: runs(150, 1000) },
  );
});

Deno.test("requests that fail on the host lose nothing that others wrote, and can be made again", () => {
  fc.assert(
    fc.property(anyImage, fc.integer(), fc.nat(600), (image, seed, steps) => {
      const load = makeLoad(image, seed);
      load.file.failures = 0.1;
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      load.file.failures = 0;
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      closeSoundly(load, image);
    }),
    { numRuns: runs(150, 1000) },
  );
});
