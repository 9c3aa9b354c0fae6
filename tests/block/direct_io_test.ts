import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno } from "../../src/ffi/errno.ts";
import { openFile, OpenFlags } from "../../src/ffi/file.ts";
import { lastingAddress } from "../../src/ffi/memory.ts";
import { alignedBuffer, BouncePool, MAX_BOUNCE } from "../../src/block/aligned_buffers.ts";
import { run } from "../../src/block/coroutine.ts";
import { DirectIo } from "../../src/block/direct_io.ts";
import { EngineFile } from "../../src/block/engine_file.ts";
import { FileIo } from "../../src/block/file_io.ts";
import { leakingNothing } from "../support/leaks.ts";
import { MemoryEngine, type MemoryEngineOptions } from "./memory_engine.ts";

const BLOCK = 64;

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + 1) & 0xff);
}

interface Setting {
  readonly engine: MemoryEngine;
  readonly file: EngineFile;
}

/** A file of `size` bytes with blocks of 64, whose kernel takes nothing that is not aligned. */
function withFile(size: number, options: MemoryEngineOptions, body: (setting: Setting) => void): void {
  const engine = new MemoryEngine(pattern(size, 0), { alignment: BLOCK, ...options });
  const fd = openFile("/dev/null", OpenFlags.O_RDWR);
  const file = new EngineFile({
    kind: "file",
    readOnly: false,
    size,
    granularity: 1,
    ignoreSync: false,
    cached: false,
    io: new FileIo("disk.img", fd, { engine, release() {} }),
    bytes: (io, size) =>
      new DirectIo({ io, alignment: { offset: BLOCK, memory: BLOCK }, buffers: new BouncePool(), size }),
  });
  try {
    body({ engine, file });
  } finally {
    file.close();
  }
}

Deno.test("an aligned transfer to aligned memory is one request, without a copy", () => {
  withFile(1024, {}, ({ engine, file }) => {
    const buffer = alignedBuffer(512);
    file.read(256, buffer, () => {});
    engine.settle();
    file.write(256, buffer, () => {});
    engine.settle();
    assertEquals(engine.log.map(({ operation, buffer }) => [operation, buffer]), [
      [FileOperation.READ, buffer],
      [FileOperation.WRITE, buffer],
    ]);
  });
});

/** Changes of disjoint ranges, in flight together, so that their outcome is known. */
const changes = fc.array(
  fc.record({
    gap: fc.nat(90),
    length: fc.integer({ min: 1, max: 200 }),
    kind: fc.constantFrom("write", "aligned write", "zero"),
    skew: fc.nat(3),
  }),
  { minLength: 2, maxLength: 12 },
);

Deno.test(
  "writes and zeroes that share blocks lose nothing, whatever the order in which they are carried out",
  leakingNothing(() => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1500 }),
        changes,
        fc.infiniteStream(fc.nat()),
        (size, list, choices) => {
          const choose = () => choices.next().value;
          const interfere = () => choose() % 5 === 0 ? { most: BLOCK } : undefined; // in parts, sometimes
          withFile(size, { interfere }, ({ engine, file }) => {
            let model = pattern(size, 0);
            let at = 0;
            let open = 0;
            for (const [i, { gap, length, kind, skew }] of list.entries()) {
              at += gap;
              if (kind === "zero") {
                model.fill(0, at, at + length);
                file.writeZeroes(at, length, false, () => open--);
              } else {
                const memory = kind === "write" ? new Uint8Array(length + skew) : alignedBuffer(length);
                const data = memory.subarray(memory.length - length);
                data.set(pattern(length, i + 1));
                if (at + length > model.length) {
                  const grown = new Uint8Array(at + length);
                  grown.set(model);
                  model = grown;
                }
                model.set(data, at);
                file.write(at, data, (error) => {
                  assertEquals(error, undefined);
                  open--;
                });
              }
              open++;
              if (choose() % 3 === 0 && engine.inFlight > 0) engine.step(choose());
              at += length;
            }
            engine.settle(choose);
            assertEquals(open, 0);
            assertEquals(engine.contents, model);
            assertEquals(file.size, model.length);
          });
        },
      ),
      { numRuns: 400 },
    );
  }),
);

Deno.test("two writes within one block both arrive", () => {
  withFile(256, {}, ({ engine, file }) => {
    const model = engine.contents.slice();
    for (const [offset, value] of [[70, 1], [75, 2]]) {
      model.fill(value, offset, offset + 5);
      file.write(offset, new Uint8Array(5).fill(value), () => {});
    }
    engine.settle(() => engine.inFlight - 1);
    assertEquals(engine.contents, model);
  });
});

Deno.test("a write at the unaligned end of a file leaves its size as it is", () => {
  withFile(100, {}, ({ engine, file }) => {
    file.write(90, new Uint8Array(10).fill(9), () => {});
    engine.settle();
    assertEquals([engine.contents.length, file.size], [100, 100]);
    assertEquals(
      engine.contents.subarray(80),
      Uint8Array.from([...pattern(100, 0).subarray(80, 90), ...Array(10).fill(9)]),
    );
  });
});

Deno.test("a read across the unaligned end is filled up with zeroes", () => {
  withFile(100, {}, ({ engine, file }) => {
    const into = new Uint8Array(200).fill(0xee);
    file.read(7, into, () => {});
    engine.settle();
    assertEquals(into.subarray(0, 93), pattern(100, 0).subarray(7));
    assertEquals(into.subarray(93), new Uint8Array(107));
  });
});

Deno.test("a failed read of a block that is written in part fails the write, and lets the next one in", () => {
  let fail = true;
  const interfere = () => fail ? { result: -Errno.EIO } : undefined;
  withFile(256, { interfere }, ({ engine, file }) => {
    const ends: (Error | undefined)[] = [];
    file.write(10, new Uint8Array(5), (error) => ends.push(error));
    engine.step();
    fail = false;
    file.write(12, new Uint8Array(5).fill(3), (error) => ends.push(error));
    engine.settle();
    assertEquals(ends.map((error) => error === undefined), [false, true]);
    assertEquals(
      engine.contents.subarray(10, 18),
      Uint8Array.from([...pattern(256, 0).subarray(10, 12), 3, 3, 3, 3, 3, pattern(256, 0)[17]]),
    );
  });
});

Deno.test("what is larger than a bounce buffer goes in parts", () => {
  const length = 2 * MAX_BOUNCE + 100;
  withFile(length + BLOCK, {}, ({ engine, file }) => {
    const data = pattern(length, 5);
    file.write(13, data, () => {});
    engine.settle();
    assert(engine.log.every((request) => request.length <= MAX_BOUNCE));
    const into = new Uint8Array(length);
    file.read(13, into, () => {});
    engine.settle();
    assertEquals(into, data);
  });
});

Deno.test("aligned buffers begin at a page and have the length that was asked for", () => {
  for (const length of [1, 512, 4096, 300_000]) {
    const buffer = alignedBuffer(length);
    assertEquals([buffer.length, lastingAddress(buffer) % 4096], [length, 0]);
  }
});

Deno.test("bounce buffers are lent up to a limit; who wants more waits", () => {
  const pool = new BouncePool();
  const lent: Uint8Array[] = [];
  for (let i = 0; i < 20; i++) run(pool.take(MAX_BOUNCE), (_, buffer) => lent.push(buffer!));
  assertEquals(lent.length, 16);
  pool.give(lent[0]);
  assertEquals(lent.length, 17);
  for (const buffer of lent.slice(1)) pool.give(buffer);
  assertEquals(lent.length, 20);
});
