import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as zlib from "node:zlib";
import { compress, type CompressionType, decompress } from "../../src/block/compression.ts";
import { runs } from "../support/runs.ts";

const TYPES: readonly CompressionType[] = ["deflate", "zstd"];

function expand(type: CompressionType, data: Uint8Array, size: number): Uint8Array {
  const into = new Uint8Array(size);
  decompress(type, data, into);
  return into;
}

/** What is wrong with `data`. */
function refusal(type: CompressionType, data: Uint8Array, size: number): string {
  const error = assertThrows(() => decompress(type, data, new Uint8Array(size)), Error) as Error;
  assertEquals(error.message, `Cannot decompress (${type})`);
  return (error.cause as Error).message;
}

const noise = (size: number) => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
};

/** Bytes as files have them: runs, words that come again near and far, numbers, noise. */
const contents = fc.array(
  fc.oneof(
    fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 3000 })).map(([value, size]) => new Uint8Array(size).fill(value)),
    fc.uint8Array({ minLength: 1, maxLength: 600 }),
    fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 200 })).map(
      ([word, times]) => Uint8Array.from({ length: word.length * times }, (_, i) => word[i % word.length]),
    ),
    fc.tuple(fc.nat(26), fc.integer({ min: 1, max: 5000 })).map(
      ([letters, size]) => Uint8Array.from({ length: size }, (_, i) => 65 + (i * i >> 3) % (letters + 1)),
    ),
  ),
  { minLength: 1, maxLength: 12 },
).map((parts) => {
  // The first part once more at the end: a match from far away.
  const all = [...parts, parts[0]];
  const bytes = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  all.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
});

const deflateOptions = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  strategy: fc.constantFrom(zlib.constants.Z_DEFAULT_STRATEGY, zlib.constants.Z_HUFFMAN_ONLY, zlib.constants.Z_FIXED),
  windowBits: fc.integer({ min: 9, max: 15 }),
  memLevel: fc.integer({ min: 1, max: 9 }),
});

const zstdOptions = fc.record({
  level: fc.integer({ min: -5, max: 12 }),
  contentSize: fc.nat(1),
  checksum: fc.nat(1),
}).map(({ level, contentSize, checksum }) => ({
  params: {
    [zlib.constants.ZSTD_c_compressionLevel]: level,
    [zlib.constants.ZSTD_c_contentSizeFlag]: contentSize,
    [zlib.constants.ZSTD_c_checksumFlag]: checksum,
  },
}));

/** Streams of either type with what they stand for. */
const streams: Record<CompressionType, fc.Arbitrary<{ plain: Uint8Array; data: Uint8Array }>> = {
  deflate: fc.tuple(contents, deflateOptions).map(([plain, options]) => ({
    plain,
    data: new Uint8Array(zlib.deflateRawSync(plain, options)),
  })),
  zstd: fc.tuple(contents, zstdOptions).map(([plain, options]) => ({
    plain,
    data: new Uint8Array(zlib.zstdCompressSync(plain, options)),
  })),
};

/** Bytes of a stream to change: where, and to what. */
const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });

/** What the library that QEMU uses makes of `data`, or `undefined` when it refuses them. */
function reference(type: CompressionType, data: Uint8Array, size: number): Uint8Array | undefined {
  try {
    const options = { maxOutputLength: size + 1 };
    return new Uint8Array(
      type === "zstd" ? zlib.zstdDecompressSync(data, options) : zlib.inflateRawSync(data, options),
    );
  } catch {
    return undefined;
  }
}

for (const type of TYPES) {
  Deno.test(`${type}: a cluster that was compressed comes back`, () => {
    for (const size of [512, 4096, 65536, 2 ** 21]) {
      const plain = new Uint8Array(size);
      plain.set(noise(size / 8), size / 4);
      const data = compress(type, plain)!;
      assert(data.length < size);
      assertEquals(expand(type, data, size), plain);
    }
  });

  Deno.test(`${type}: noise does not get smaller`, () => {
    assertEquals(compress(type, noise(65536)), undefined);
  });

  Deno.test(`${type}: streams made at every level come back, garbage behind them or not`, () => {
    fc.assert(fc.property(streams[type], fc.uint8Array({ maxLength: 600 }), ({ plain, data }, garbage) => {
      assertEquals(expand(type, Uint8Array.of(...data, ...garbage), plain.length), plain);
    }));
  });

  Deno.test(`${type}: a stream that is cut anywhere is refused`, () => {
    fc.assert(fc.property(streams[type], fc.double({ min: 0, max: 0.999, noNaN: true }), ({ plain, data }, part) => {
      const cut = data.subarray(0, Math.floor(data.length * part));
      // Deflate's last bits may say no more than that it ends here.
      if (type === "deflate" && data.length - cut.length < 8) return;
      refusal(type, cut, plain.length);
    }));
  });

  Deno.test(`${type}: a stream for a smaller cluster is refused`, () => {
    fc.assert(fc.property(streams[type], fc.integer({ min: 1, max: 5000 }), ({ plain, data }, more) => {
      refusal(type, data, plain.length + more);
    }));
  });

  Deno.test(`${type}: what is made of a damaged stream is what others make of it, or an error`, () => {
    let same = 0;
    fc.assert(
      fc.property(streams[type], damage, ({ plain, data }, changes) => {
        for (const [at, value] of changes) data[at % data.length] = value;
        const expected = reference(type, data, plain.length);
        let made: Uint8Array | undefined;
        try {
          made = expand(type, data, plain.length);
        } catch (error) {
          assert((error as Error).message.startsWith("Cannot decompress"), String(error));
        }
        if (expected?.length !== plain.length || made === undefined) return;
        assertEquals(made, expected);
        same++;
      }),
      { numRuns: runs(150, 500) },
    );
    assert(same > 0);
  });

  Deno.test(`${type}: no bytes make it fail otherwise than by saying so`, () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
      try {
        expand(type, data, 4096);
      } catch (error) {
        assertEquals([(error as Error).message, ((error as Error).cause as Error).name], [
          `Cannot decompress (${type})`,
          "CorruptStreamError",
        ]);
      }
    }));
  });
}

Deno.test("deflate: a damaged stream that zlib accepts is not refused", () => {
  fc.assert(
    fc.property(streams.deflate, damage, ({ plain, data }, changes) => {
      for (const [at, value] of changes) data[at % data.length] = value;
      const expected = reference("deflate", data, plain.length);
      if (expected?.length === plain.length) assertEquals(expand("deflate", data, plain.length), expected);
    }),
    { numRuns: runs(150, 500) },
  );
});

Deno.test("deflate: what goes beyond a full cluster is not looked at, as in QEMU", () => {
  const data = new Uint8Array(zlib.deflateRawSync(new Uint8Array(1000).fill(7)));
  assertEquals(expand("deflate", data, 600), new Uint8Array(600).fill(7));
});

Deno.test("deflate: a match from before the beginning is refused", () => {
  // A last block with fixed codes; length 3 (symbol 257: 0000001), distance 1 (symbol 0: 00000).
  assertEquals(refusal("deflate", Uint8Array.of(0b00000011, 0b00000010, 0), 3), "a match lies before the beginning");
});

Deno.test("deflate: a stored block whose lengths contradict each other is refused", () => {
  assertEquals(
    refusal("deflate", Uint8Array.of(1, 5, 0, 0, 0, 1, 2, 3, 4, 5), 5),
    "LEN and NLEN of a stored block differ",
  );
});

Deno.test("deflate: the reserved block type is refused", () => {
  assertEquals(refusal("deflate", Uint8Array.of(0b111, 0, 0), 5), "a block has the type 3, which does not exist");
});

Deno.test("zstd: what goes beyond a full cluster is refused, as in QEMU", () => {
  const data = new Uint8Array(zlib.zstdCompressSync(noise(1000)));
  refusal("zstd", data, 600);
});

Deno.test("zstd: a window larger than the cluster takes no memory", () => {
  // A frame with a window of 128 MiB and no content size, and one raw block, the last (RFC 8878, section 3.1.1).
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3];
  assertEquals(expand("zstd", Uint8Array.of(...header, 3 << 3 | 1, 0, 0, 1, 2, 3), 3), Uint8Array.of(1, 2, 3));
  header[5] = 18 << 3;
  assertEquals(
    refusal("zstd", Uint8Array.of(...header, 3 << 3 | 1, 0, 0, 1, 2, 3), 3),
    "it has a window of 268435456 bytes",
  );
});

Deno.test("zstd: several frames, and frames to be skipped, make one cluster", () => {
  const [a, b] = [Uint8Array.of(1, 2, 3), new Uint8Array(500).fill(9)];
  const skipped = [0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 0xaa, 0xbb];
  const data = Uint8Array.of(...zlib.zstdCompressSync(a), ...skipped, ...zlib.zstdCompressSync(b));
  assertEquals(expand("zstd", data, 503), Uint8Array.of(...a, ...b));
});

Deno.test("zstd: a frame that needs a dictionary is refused", () => {
  const data = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 3, 3 << 3 | 1, 0, 0, 1, 2, 3);
  assertEquals(refusal("zstd", data, 3), "it needs a dictionary");
});
