import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { closeFd, fileStatus, openFile, OpenFlags, statusFlags } from "../../src/ffi/file.ts";
import { spawn } from "../../src/ffi/process.ts";
import type { BlockCompletion, BlockDevice } from "../../src/block/block_device.ts";
import { openHostFile } from "../../src/block/open_host_file.ts";
import { openRaw } from "../../src/block/raw.ts";
import { errorChain } from "../../src/error_chain.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { CACHE_POLICIES, type CacheMode } from "../../src/options/storage.ts";
import { openDescriptors } from "../support/leaks.ts";

interface ImageOptions {
  readonly readOnly?: boolean;
  readonly cache?: CacheMode;
  readonly discard?: boolean;
}

/** The loop of all images; it has no descriptors that a test could miss. */
const loop = new EventLoop();

function openImage(
  target: string | number,
  { readOnly, cache = "writeback", discard }: ImageOptions = {},
): BlockDevice {
  const file = openHostFile(target, { loop, readOnly, cache });
  return openRaw(file, { writeCache: CACHE_POLICIES[cache].writeCache, discard });
}

/** Runs `body` with the path of a new file that holds `contents`. O_DIRECT needs a real file system, so not in /tmp. */
function withFile(contents: Uint8Array, body: (path: string) => void): void {
  const path = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-raw-" });
  try {
    Deno.writeFileSync(path, contents);
    body(path);
  } finally {
    Deno.removeSync(path);
  }
}

function withImage(
  contents: Uint8Array,
  options: ImageOptions,
  body: (image: BlockDevice, path: string) => void,
): void {
  withFile(contents, (path) => {
    const image = openImage(path, options);
    try {
      body(image, path);
    } finally {
      image.close(() => {});
    }
  });
}

/** Bytes that differ from their neighbours and from those a sector away. */
function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 9) * 13 + seed) & 0xff);
}

/** Waits for a request; throws its error. */
function completed(start: (done: BlockCompletion) => void): void {
  let result: { error?: Error } | undefined;
  start((error) => {
    assertEquals(result, undefined, "completed twice");
    result = { error };
  });
  while (result === undefined) loop.turn();
  if (result.error !== undefined) throw result.error;
}

function read(image: BlockDevice, offset: number, length: number): Uint8Array {
  const into = new Uint8Array(length).fill(0xee);
  completed((done) => image.read(offset, into, done));
  return into;
}

function write(image: BlockDevice, offset: number, from: Uint8Array, fua = false): void {
  completed((done) => image.write(offset, from, fua, done));
}

/** Bytes that the file occupies on the host. */
function allocated(path: string): number {
  return Deno.statSync(path).blocks! * 512;
}

const CACHES = ["writeback", "none", "writethrough", "directsync", "unsafe"] as const;

for (const cache of CACHES) {
  Deno.test(`raw, cache=${cache}: what is written is read back and is in the file`, () => {
    withImage(pattern(65536), { cache }, (image, path) => {
      const data = pattern(8192, 99);
      write(image, 4096, data, true);
      completed((done) => image.flush(done));
      assertEquals(read(image, 4096, 8192), data);
      assertEquals(Deno.readFileSync(path).subarray(4096, 12288), data);
      assertEquals(read(image, 0, 4096), pattern(65536).subarray(0, 4096));
    });
  });

  Deno.test(`raw, cache=${cache}: a file of an odd size reads as padded with zeroes and grows to the sector at most`, () => {
    const contents = pattern(10000);
    withImage(contents, { cache }, (image, path) => {
      assertEquals(image.size, 10240);
      const padded = new Uint8Array(10240);
      padded.set(contents);
      assertEquals(read(image, 0, 10240), padded);
      assertEquals(Deno.statSync(path).size, 10000);
      write(image, 9728, pattern(512, 3));
      assertEquals(Deno.statSync(path).size, 10240);
      assertEquals(read(image, 9728, 512), pattern(512, 3));
      assertEquals(read(image, 9216, 512), contents.subarray(9216, 9728));
    });
  });
}

Deno.test("raw: only the modes without writeback claim to have no write cache", () => {
  for (const cache of CACHES) {
    withImage(pattern(4096), { cache }, (image) => {
      assertEquals(image.writeCache, cache !== "writethrough" && cache !== "directsync", cache);
    });
  }
});

Deno.test("raw, cache=none: requests that are not aligned to the host's sectors work, across the end of the file too", () => {
  withImage(pattern(4096 * 3 + 512), { cache: "none" }, (image, path) => {
    const model = pattern(4096 * 3 + 512);
    for (const [offset, length] of [[512, 512], [3584, 1024], [4096, 4096], [8192, 4608], [12288, 512], [0, 12800]]) {
      assertEquals(read(image, offset, length), model.subarray(offset, offset + length));
      const data = pattern(length, offset + length);
      model.set(data, offset);
      write(image, offset, data);
    }
    assertEquals(Deno.readFileSync(path), model);
  });
});

Deno.test("raw: O_DIRECT follows the cache mode, on a descriptor that was opened otherwise too", () => {
  withFile(pattern(8192), (path) => {
    for (const cache of CACHES) {
      for (const opened of [0, OpenFlags.O_DIRECT]) {
        const fd = openFile(path, OpenFlags.O_RDWR | opened);
        const image = openImage(fd, { cache });
        assertEquals(read(image, 512, 1024), pattern(8192).subarray(512, 1536)); // goes through the page cache
        const direct = (statusFlags(fd) & OpenFlags.O_DIRECT) !== 0;
        assertEquals(direct, cache === "none" || cache === "directsync", cache);
        image.close(() => {});
      }
    }
  });
});

Deno.test("raw, cache=none: a transfer larger than the bounce buffer arrives whole", () => {
  const length = 700 * 1024;
  withImage(new Uint8Array(1024 * 1024), { cache: "none" }, (image) => {
    write(image, 4096, pattern(length));
    assertEquals(read(image, 4096, length), pattern(length));
    assertEquals(read(image, 0, 4096), new Uint8Array(4096));
    assertEquals(read(image, 4096 + length, 4096), new Uint8Array(4096));
  });
});

Deno.test("raw: any mix of writes, zeroes and discards leaves what an array would hold", () => {
  const sectors = 40;
  const operation = fc.record({
    kind: fc.constantFrom("write", "zero", "unmap"),
    at: fc.nat(sectors - 1),
    count: fc.integer({ min: 1, max: 12 }),
    seed: fc.nat(255),
  });
  const runs = fc.array(operation, { maxLength: 12 });
  for (const cache of ["writeback", "none"] as const) {
    fc.assert(
      fc.property(runs, fc.boolean(), (operations, discard) => {
        withImage(pattern(sectors * 512 - 100), { cache, discard }, (image) => {
          const model = new Uint8Array(sectors * 512);
          model.set(pattern(sectors * 512 - 100));
          for (const { kind, at, count, seed } of operations) {
            const [offset, length] = [at * 512, Math.min(count, sectors - at) * 512];
            const data = kind === "write" ? pattern(length, seed) : new Uint8Array(length);
            model.set(data, offset);
            if (kind === "write") write(image, offset, data);
            else completed((done) => image.writeZeroes(offset, length, kind === "unmap", done));
          }
          assertEquals(read(image, 0, model.length), model);
        });
      }),
      { numRuns: 30 },
    );
  }
});

Deno.test("raw, discard=on: a discarded range gives its space back and reads as zeroes", () => {
  withImage(pattern(1024 * 1024), { discard: true }, (image, path) => {
    completed((done) => image.flush(done));
    const before = allocated(path);
    completed((done) => image.discard(65536, 524288, done));
    assert(allocated(path) <= before - 524288);
    assertEquals(read(image, 65536, 524288), new Uint8Array(524288));
    assertEquals(Deno.statSync(path).size, 1024 * 1024);
  });
});

Deno.test("raw, discard off: a discard succeeds and changes nothing", () => {
  withImage(pattern(65536), {}, (image) => {
    completed((done) => image.discard(0, 65536, done));
    assertEquals(read(image, 0, 65536), pattern(65536));
  });
});

Deno.test("raw: zeroes without unmap keep the space", () => {
  withImage(pattern(1024 * 1024), { discard: true }, (image, path) => {
    completed((done) => image.flush(done));
    const before = allocated(path);
    completed((done) => image.writeZeroes(0, 524288, false, done));
    completed((done) => image.flush(done));
    assert(allocated(path) >= before);
    assertEquals(read(image, 0, 524288), new Uint8Array(524288));
  });
});

Deno.test("raw: holes read as zeroes", () => {
  withFile(new Uint8Array(0), (path) => {
    Deno.truncateSync(path, 3 * 1024 * 1024 * 1024 * 1024); // 3 TiB: offsets beyond 32 bits
    const image = openImage(path);
    assertEquals(image.size, 3 * 1024 ** 4);
    const offset = 2.5 * 1024 ** 4;
    assertEquals(read(image, offset, 4096), new Uint8Array(4096));
    write(image, offset, pattern(4096));
    assertEquals(read(image, offset - 512, 1024).subarray(512), pattern(4096).subarray(0, 512));
    assert(allocated(path) < 1024 * 1024);
    image.close(() => {});
  });
});

Deno.test("raw, readonly=on: reads, and refuses every change through the callback", () => {
  withFile(pattern(8192), (path) => {
    Deno.chmodSync(path, 0o444);
    const image = openImage(path, { readOnly: true, discard: true });
    assert(image.readOnly);
    assertEquals(read(image, 0, 8192), pattern(8192));
    assertThrows(() => write(image, 0, pattern(512)), Error, "read-only");
    assertThrows(() => completed((done) => image.writeZeroes(0, 512, true, done)), Error, "read-only");
    completed((done) => image.flush(done));
    image.close(() => {});
    assertEquals(Deno.readFileSync(path), pattern(8192));
  });
});

for (const cache of ["writeback", "none"] as const) {
  Deno.test(`raw, cache=${cache}: a file that the host shortens fails reads of what is missing`, () => {
    withImage(pattern(8192), { cache }, (image, path) => {
      Deno.truncateSync(path, 4096);
      assertEquals(read(image, 0, 4096), pattern(8192).subarray(0, 4096));
      for (const [offset, length] of [[0, 8192], [4096, 512], [7680, 512]]) {
        const error = assertThrows(() => read(image, offset, length), Error) as Error;
        const missing = Math.max(offset, 4096);
        assert(
          errorChain(error).includes(`has become shorter: ${8192 - missing} bytes are missing from ${missing} on`),
        );
        assert(errorChain(error).includes("EIO"));
      }
    });
  });
}

Deno.test("raw: a range that does not lie on the image is the caller's defect", () => {
  withImage(pattern(8192), {}, (image) => {
    const never = () => assert(false, "completed");
    assertThrows(() => image.read(8192, new Uint8Array(512), never), RangeError, "8192");
    assertThrows(() => image.read(-512, new Uint8Array(512), never), RangeError);
    assertThrows(() => image.write(7680, new Uint8Array(1024), false, never), RangeError);
    assertThrows(() => image.discard(0, 8704, never), RangeError);
    assertThrows(() => image.writeZeroes(NaN, 512, false, never), RangeError);
  });
});

Deno.test("raw: a failure of the host names the operation, the place and the image, and keeps the cause", () => {
  withFile(pattern(8192), (path) => {
    const fd = openFile(path, OpenFlags.O_RDWR);
    const image = openImage(fd);
    closeFd(fd);
    const error = assertThrows(() => read(image, 512, 1024), Error) as Error;
    assertEquals(error.message, `Cannot read 1024 bytes at 512 of descriptor ${fd}`);
    assertEquals((error.cause as { code: string }).code, "EBADF");
  });
});

Deno.test("raw: an error thrown by a completion is not taken for the image's", () => {
  withImage(pattern(512), {}, (image) => {
    let calls = 0;
    assertThrows(
      () =>
        image.read(0, new Uint8Array(512), () => {
          calls++;
          throw new Error("the caller's");
        }),
      Error,
      "the caller's",
    );
    assertEquals(calls, 1);
  });
});

Deno.test("raw: what cannot be opened is named with the reason", () => {
  withFile(pattern(512), (path) => {
    const cases: [target: string, options: ImageOptions, why: string][] = [
      [`${path}.missing`, {}, "there is no such file"],
      [`${path}/x`, {}, "there is no such file"],
      ["/var/tmp", {}, "it is a directory"],
      ["/var/tmp", { readOnly: true }, "it is a directory, not a regular file or block device"],
      ["/dev/null", {}, "it is a character device, not a regular file or block device"],
      ["/proc/version", { readOnly: true }, "images do not lie in proc"],
    ];
    const before = openDescriptors();
    for (const [target, options, why] of cases) {
      const error = assertThrows(() => openImage(target, options), Error) as Error;
      assertStringIncludes(error.message, `Cannot open ${target}: ${why}`);
      assert(!error.message.includes("\n"));
    }
    assertEquals(openDescriptors(), before);
  });
});

Deno.test("raw: a FIFO is refused without waiting for its other end", () => {
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/fifo`;
    const mkfifo = spawn({ command: ["mkfifo", path], env: {} });
    assertEquals(mkfifo.wait(), { code: 0 });
    mkfifo.close();
    assertThrows(() => openImage(path, { readOnly: true }), Error, "it is a FIFO");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("raw: a descriptor that was opened for less than is asked of it is refused and stays open", () => {
  withFile(pattern(512), (path) => {
    for (const [flags, why] of [[OpenFlags.O_RDONLY, "writing"], [OpenFlags.O_RDWR | OpenFlags.O_APPEND, "O_APPEND"]]) {
      const fd = openFile(path, flags as number);
      assertThrows(() => openImage(fd), Error, why as string);
      assertEquals(fileStatus(fd).size, 512);
      closeFd(fd);
    }
  });
});

Deno.test("raw: closing gives the descriptor back, once", () => {
  withFile(pattern(4096), (path) => {
    const before = openDescriptors();
    const image = openImage(path, { cache: "none" });
    image.close(() => {});
    image.close(() => {});
    assertEquals(openDescriptors(), before);
  });
});

Deno.test("raw: an image that is open for writing cannot be opened again, for reading neither", () => {
  withImage(pattern(4096), {}, (_, path) => {
    assertThrows(() => openImage(path), Error, `Cannot open ${path}: it is in use already`);
    assertThrows(() => openImage(path, { readOnly: true }), Error, "it is in use already");
  });
});

Deno.test("raw: any number may read an image, and nobody write it meanwhile", () => {
  withImage(pattern(4096), { readOnly: true }, (_, path) => {
    const second = openImage(path, { readOnly: true });
    assertThrows(() => openImage(path), Error, "it is in use already");
    second.close(() => {});
  });
});

Deno.test("raw: the lock is gone when the image is closed", () => {
  withFile(pattern(4096), (path) => {
    openImage(path).close(() => {});
    openImage(path).close(() => {});
  });
});
