import { assert, assertEquals } from "@std/assert";
import { ChunkPool, MAX_CHUNK } from "../../../src/remote/scsi/chunk_pool.ts";

Deno.test("a buffer is the smallest power of two that holds what is asked for, up to a chunk", () => {
  const pool = new ChunkPool();
  const sizes = [1, 512, 4096, 4097, 65536, MAX_CHUNK, MAX_CHUNK + 1, 2 ** 40].map((length) =>
    pool.take(length).length
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
