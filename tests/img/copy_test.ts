import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import type { BlockCompletion, BlockDevice, Extent } from "../../src/block/block_device.ts";
import { run } from "../../src/block/coroutine.ts";
import { copyImage, type CopyOptions } from "../../src/img/copy.ts";
import { isEqual } from "../../src/block/zeroes.ts";

const MiB = 2 ** 20;

/** An image in memory, whose requests complete later and in any order. */
class MemoryDevice implements BlockDevice {
  readonly readOnly = false;
  readonly writeCache = false;
  /** Requests so far, as `write 0+4096`. */
  readonly requests: string[] = [];
  inFlight = 0;
  mostInFlight = 0;
  failAt = Infinity;

  /** @param delay Turns of the microtask queue that the next request takes. */
  constructor(readonly bytes: Uint8Array, readonly delay: () => number = () => 0) {}

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array, done: BlockCompletion): void {
    this.#later("read", offset, into.length, done, () => into.set(this.bytes.subarray(offset, offset + into.length)));
  }

  write(offset: number, from: Uint8Array, _fua: boolean, done: BlockCompletion): void {
    this.#later("write", offset, from.length, done, () => this.bytes.set(from, offset));
  }

  writeZeroes(offset: number, length: number, _unmap: boolean, done: BlockCompletion): void {
    this.#later("zero", offset, length, done, () => this.bytes.fill(0, offset, offset + length));
  }

  flush = (done: BlockCompletion) => done();
  discard = (_offset: number, _length: number, done: BlockCompletion) => done();
  close = (done: BlockCompletion) => done();

  #later(what: string, offset: number, length: number, done: BlockCompletion, work: () => void): void {
    assert(offset >= 0 && offset + length <= this.size, `${what} ${length} at ${offset}`);
    this.requests.push(`${what} ${offset}+${length}`);
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    let turns = this.delay();
    const step = () => {
      if (turns-- > 0) return queueMicrotask(step);
      this.inFlight--;
      if (offset + length > this.failAt) return done(new Error(`${what} failed`));
      work();
      done();
    };
    step();
  }
}

/** A device that knows its holes. */
class SparseDevice extends MemoryDevice {
  status(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void {
    const zero = this.bytes[offset] === 0;
    let end = offset;
    while (end < offset + length && (this.bytes[end] === 0) === zero) end++;
    done(undefined, { length: end - offset, zero });
  }
}

function copy(
  options: Pick<CopyOptions, "source" | "target"> & Partial<CopyOptions>,
): Promise<number[]> {
  const progress: number[] = [];
  const all: CopyOptions = {
    beneath: "zeroes",
    sparse: 4096,
    requests: 4,
    ordered: true,
    guard: (body) => body,
    progress: (done) => progress.push(done),
    ...options,
  };
  return new Promise((resolve, reject) => {
    run(copyImage(all), (error) => error === undefined ? resolve(progress) : reject(error));
  });
}

/** Contents of up to 4 MiB, of which parts are zero. */
const contents = fc.tuple(fc.nat(4 * MiB / 512), fc.array(fc.tuple(fc.nat(8191), fc.integer({ min: 1, max: 255 }))))
  .map(
    ([sectors, parts]) => {
      const bytes = new Uint8Array(sectors * 512);
      for (const [sector, value] of parts) bytes.fill(value, sector * 512, (sector + 3) * 512);
      return bytes;
    },
  );

Deno.test("whatever the image, the options and the order of completions, the target gets its contents", async () => {
  await fc.assert(
    fc.asyncProperty(
      contents,
      contents,
      fc.array(fc.nat(3), { minLength: 1 }),
      fc.record({
        requests: fc.integer({ min: 1, max: 16 }),
        ordered: fc.boolean(),
        sparse: fc.constantFrom(0, 512, 4096, 65536, MiB),
        cluster: fc.constantFrom(512, 4096, 65536),
        beneath: fc.constantFrom("zeroes", "unknown", "backing"),
        holes: fc.boolean(),
        compressed: fc.boolean(),
      }),
      async (bytes, other, delays, { beneath, holes, compressed, ...options }) => {
        let turn = 0;
        const delay = () => delays[turn++ % delays.length];
        const source = holes ? new SparseDevice(bytes, delay) : new MemoryDevice(bytes, delay);
        // What the target reads as before anything is written to it.
        const before = new Uint8Array(bytes.length);
        if (beneath !== "zeroes") before.set(other.subarray(0, bytes.length));
        const target = new MemoryDevice(before, delay);
        const below = beneath === "backing" ? new MemoryDevice(other, delay) : beneath as "zeroes" | "unknown";
        const compressor = compressed
          ? {
            cluster: options.cluster,
            write: (at: number, from: Uint8Array, done: BlockCompletion) => target.write(at, from, false, done),
          }
          : undefined;
        const expected = bytes.slice();
        const progress = await copy({ source, target, beneath: below, compressor, ...options });
        assert(isEqual(target.bytes, expected));
        assertEquals(progress.at(-1) ?? 0, bytes.length);
        assertEquals([source.inFlight, target.inFlight], [0, 0]);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("zeroes are not written where the target has them already", async () => {
  const bytes = new Uint8Array(4 * MiB);
  bytes.fill(1, 2 * MiB, 2 * MiB + 4096);
  const [source, target] = [new MemoryDevice(bytes), new MemoryDevice(new Uint8Array(4 * MiB))];
  await copy({ source, target });
  assertEquals(target.requests, [`write ${2 * MiB}+4096`]);
});

Deno.test("zeroes are written by the range where it is not known what the target has", async () => {
  const source = new MemoryDevice(new Uint8Array(2 * MiB));
  const target = new MemoryDevice(new Uint8Array(2 * MiB).fill(7));
  await copy({ source, target, beneath: "unknown" });
  assertEquals(target.requests, [`zero 0+${MiB}`, `zero ${MiB}+${MiB}`]);
});

Deno.test("with sparse=0 zeroes are written like other data", async () => {
  const [source, target] = [new MemoryDevice(new Uint8Array(MiB)), new MemoryDevice(new Uint8Array(MiB))];
  await copy({ source, target, sparse: 0 });
  assertEquals(target.requests, [`write 0+${MiB}`]);
});

Deno.test("what is the same in the backing file is not written", async () => {
  const bytes = new Uint8Array(4 * 65536).fill(5);
  const below = new MemoryDevice(bytes.slice());
  bytes[65536 + 10] = 6;
  const target = new MemoryDevice(below.bytes.slice());
  await copy({ source: new MemoryDevice(bytes), target, beneath: below });
  assertEquals(target.requests, ["write 65536+65536"]);
});

Deno.test("holes that the source knows of are not read", async () => {
  const bytes = new Uint8Array(64 * MiB);
  bytes.fill(1, 40 * MiB, 41 * MiB);
  const source = new SparseDevice(bytes);
  await copy({ source, target: new MemoryDevice(new Uint8Array(64 * MiB)), requests: 1 });
  assertEquals(source.requests, [`read ${40 * MiB}+${MiB}`]);
});

Deno.test("no more requests are in flight than were allowed, and as many where there is work", async () => {
  const source = new MemoryDevice(new Uint8Array(32 * MiB).fill(1), () => 2);
  await copy({ source, target: new MemoryDevice(new Uint8Array(32 * MiB)), requests: 5 });
  assertEquals(source.mostInFlight, 5);
});

Deno.test("writes are started in the order of the disk, however reads complete", async () => {
  let turn = 0;
  const source = new MemoryDevice(new Uint8Array(16 * MiB).fill(1), () => [5, 0, 3, 1][turn++ % 4]);
  const target = new MemoryDevice(new Uint8Array(16 * MiB));
  await copy({ source, target });
  assertEquals(target.requests, Array.from({ length: 16 }, (_, i) => `write ${i * MiB}+${MiB}`));
});

for (const failing of ["source", "target"] as const) {
  for (const ordered of [true, false]) {
    const order = ordered ? "in order" : "out of order";
    Deno.test(`a ${failing} that fails, ${order}, ends the copy, with nothing left in flight`, async () => {
      let turn = 0;
      const delay = () => turn++ % 3;
      const source = new MemoryDevice(new Uint8Array(64 * MiB).fill(1), delay);
      const target = new MemoryDevice(new Uint8Array(64 * MiB), delay);
      (failing === "source" ? source : target).failAt = 10 * MiB;
      await assertRejects(() => copy({ source, target, ordered }), Error, "failed");
      assertEquals([source.inFlight, target.inFlight], [0, 0]);
      assert(source.requests.length < 32);
    });
  }
}

Deno.test("an empty image is copied", async () => {
  const [source, target] = [new MemoryDevice(new Uint8Array()), new MemoryDevice(new Uint8Array())];
  assertEquals(await copy({ source, target }), []);
});
