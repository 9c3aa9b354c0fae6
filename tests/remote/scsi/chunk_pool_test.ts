import { assert, assertEquals } from "@std/assert";
import { ChunkPool, MAX_CHUNK } from "../../../src/remote/scsi/chunk_pool.ts";

Deno.test("a buffer is the smallest power of two that holds what is asked for, up to a chunk", () => {
  const pool = new ChunkPool();
  const sizes = [1, 512, 4096, 4097, 65536, MAX_CHUNK, MAX_CHUNK + 1, 2 ** 40].map((length) =>
    pool.take(length).buffer.length
  );
  assertEquals(sizes, [4096, 4096, 4096, 8192, 65536, MAX_CHUNK, MAX_CHUNK, MAX_CHUNK]);
});

Deno.test("a buffer that was given back is lent again, to one borrower at a time", () => {
  const pool = new ChunkPool();
  const first = pool.take(512);
  assert(pool.take(512) !== first);
  pool.give(first);
  assert(pool.take(512) === first);
  assert(pool.take(512) !== first);
});

Deno.test("a pool keeps no more than 2 MiB", () => {
  const pool = new ChunkPool();
  const lent = Array.from({ length: 20 }, () => pool.take(MAX_CHUNK));
  for (const buffer of lent) pool.give(buffer);
  const again = Array.from({ length: 20 }, () => pool.take(MAX_CHUNK));
  assertEquals(again.filter((buffer) => lent.includes(buffer)).length, 8);
});

Deno.test("borrowers that have one already get more while 16 MiB last, and again when some come back", () => {
  const pool = new ChunkPool();
  const more = Array.from({ length: 65 }, () => pool.takeMore(MAX_CHUNK));
  assertEquals(more.filter((chunk) => chunk !== undefined).length, 64);
  assert(pool.take(MAX_CHUNK) !== undefined);
  pool.give(more[0]!);
  assert(pool.takeMore(MAX_CHUNK) !== undefined);
  assertEquals(pool.takeMore(MAX_CHUNK), undefined);
});

Deno.test("buffers come from the allocator that was given, and are used again", () => {
  const sizes: number[] = [];
  const pool = new ChunkPool({
    allocate(bytes) {
      sizes.push(bytes);
      return new Uint8Array(bytes + 512).subarray(512);
    },
  });
  const chunk = pool.take(5000);
  assertEquals(chunk.buffer.byteOffset, 512);
  pool.give(chunk);
  pool.take(8192);
  assertEquals(sizes, [8192]);
});
