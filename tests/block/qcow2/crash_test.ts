import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { run } from "../../../src/block/coroutine.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { PowerLossFile, randomNumbers } from "./power_loss_file.ts";
import { contents, now } from "./workload.ts";

const SECTORS = 128;

/** Options of the images that crash: small tables, so that all of them change, grow and move. */
const anyImage = fc.record({
  clusterSize: fc.constantFrom(512, 1024, 2048),
  refcountBits: fc.constantFrom(1, 8, 16, 64),
  lazyRefcounts: fc.boolean(),
  extendedL2: fc.constantFrom(false, false, false, true),
  preallocation: fc.constantFrom("off" as const, "metadata" as const),
});

/** What a sector may hold after a crash: the number that was written to it last before a flush, or any later one. */
class Expectation {
  readonly #possible: Set<number>[] = Array.from({ length: SECTORS }, () => new Set([0]));
  readonly #last = new Array<number>(SECTORS).fill(0);
  readonly #busy = new Set<number>();

  isBusy(first: number, count: number): boolean {
    for (let i = first; i < first + count; i++) if (this.#busy.has(i)) return true;
    return false;
  }

  begins(first: number, count: number, value: number): void {
    for (let i = first; i < first + count; i++) {
      this.#busy.add(i);
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

  /** The state that a flush beginning now will make durable. */
  snapshot(): number[] {
    return this.#last.map((value, i) => this.#busy.has(i) ? -1 : value);
  }

  flushed(snapshot: readonly number[]): void {
    snapshot.forEach((value, i) => {
      // Only if nothing was written meanwhile is it just that value.
      if (value !== -1 && this.#last[i] === value && !this.#busy.has(i)) this.#possible[i] = new Set([value]);
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
    const snapshot = expectation.snapshot();
    disk.flush((error) => error === undefined && expectation.flushed(snapshot));
    return;
  }
  const first = Math.floor(random() * SECTORS);
  const count = Math.min(SECTORS - first, 1 + Math.floor(random() * random() * 40));
  if (expectation.isBusy(first, count)) return;
  if (kind < 0.8) {
    expectation.begins(first, count, value);
    const fua = random() < 0.1;
    disk.write(first * 512, new Uint8Array(count * 512).fill(value), fua, (error) => {
      expectation.ends(first, count, value, error !== undefined);
    });
  } else {
    expectation.begins(first, count, 0);
    const done = (error?: Error) => expectation.ends(first, count, 0, error !== undefined);
    disk.writeZeroes(first * 512, count * 512, random() < 0.5, done);
  }
}

function turnUntilIdle(file: PowerLossFile): void {
  while (!file.isIdle) file.turn();
}

function openLater(file: PowerLossFile): BlockDevice {
  let disk: BlockDevice | undefined;
  run(openQcow2(file, { discard: true }), (error, value) => {
    if (error !== undefined) throw error;
    disk = value;
  });
  turnUntilIdle(file);
  return disk as BlockDevice;
}

function makeLoad(image: Parameters<typeof createQcow2>[1], seed: number): Load {
  const memory = new MemoryFile();
  now(createQcow2(memory, image));
  const random = randomNumbers(seed);
  const file = new PowerLossFile(memory, random);
  return { file, disk: openLater(file), expectation: new Expectation(), random };
}

function settle(image: Omit<Parameters<typeof createQcow2>[1], "size">): Parameters<typeof createQcow2>[1] {
  return { ...image, size: SECTORS * 512, clusterSize: image.extendedL2 ? 16384 : image.clusterSize };
}

/** Keeps up to eight requests in flight for some time. */
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
      const load = makeLoad(settle(image), seed);
      keepBusy(load, steps);
      const survivor = load.file.crash();
      const { corruptions, checkErrors } = now(checkQcow2(survivor));
      assertEquals({ corruptions, checkErrors }, { corruptions: 0, checkErrors: 0 });
      load.expectation.check(contents(now(openQcow2(survivor))));
    }),
    { numRuns: 600 },
  );
});

Deno.test("requests in any order leave an image without errors or leaks", () => {
  fc.assert(
    fc.property(anyImage, fc.integer(), fc.nat(600), (image, seed, steps) => {
      const load = makeLoad(settle(image), seed);
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      close(load);
      const { corruptions, checkErrors, leaks } = now(checkQcow2(load.file.current));
      assertEquals({ corruptions, checkErrors, leaks }, { corruptions: 0, checkErrors: 0, leaks: 0 });
      load.expectation.checkLast(contents(now(openQcow2(load.file.current))));
    }),
    { numRuns: 300 },
  );
});

Deno.test("requests that fail on the host lose nothing that others wrote, and can be made again", () => {
  fc.assert(
    fc.property(anyImage, fc.integer(), fc.nat(600), (image, seed, steps) => {
      const load = makeLoad(settle(image), seed);
      load.file.failures = 0.1;
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      load.file.failures = 0;
      keepBusy(load, steps);
      turnUntilIdle(load.file);
      close(load);
      const { corruptions, checkErrors, leaks } = now(checkQcow2(load.file.current));
      assertEquals({ corruptions, checkErrors, leaks }, { corruptions: 0, checkErrors: 0, leaks: 0 });
      load.expectation.checkLast(contents(now(openQcow2(load.file.current))));
    }),
    { numRuns: 300 },
  );
});
