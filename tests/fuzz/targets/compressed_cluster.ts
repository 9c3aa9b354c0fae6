/**
 * Compressed clusters that nobody has compressed: an input is a byte that says how, and the data.
 *
 * @module
 */
import { compress, type CompressionType, decompress } from "../../../src/block/compression.ts";
import { CorruptStreamError } from "../../../src/block/compression/corrupt_stream_error.ts";
import { input } from "../engine/byte_writer.ts";
import { GuardedRegion } from "../engine/guarded_memory.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const TYPES: readonly CompressionType[] = ["deflate", "zstd"];
const CLUSTER_SIZES = [512, 4096];

const Kind = { DONE: 0, CORRUPT: 1, BYTES: 2 } as const;

/** What clusters have in them. */
const CONTENTS: Readonly<Record<string, (i: number) => number>> = {
  "zeroes": () => 0,
  "text": (i) => 0x61 + (i * i >> 3) % 17,
  "runs": (i) => i >> 6,
  "words": (i) => [7, 3, 250, i >> 8][i & 3],
};

function seeds(): Seed[] {
  return Object.entries(CONTENTS).flatMap(([name, byteAt]) =>
    TYPES.flatMap((type, code) =>
      CLUSTER_SIZES.map((size, sizeCode) => {
        const data = compress(type, Uint8Array.from({ length: size }, (_, i) => byteAt(i)))!;
        return { name: `${type}-${size}-${name}`, bytes: input(code | sizeCode << 1, data) };
      })
    )
  );
}

/** See the module. */
export function compressedClusterTarget(): Target {
  const clusters = CLUSTER_SIZES.map((size) => new GuardedRegion(0, size));
  return {
    name: "compressed-cluster",
    maxLength: 1024,
    dictionary: [[0x28, 0xb5, 0x2f, 0xfd], [0x00, 0x00, 0xff, 0xff], [0xff, 0xff, 0xff, 0xff]].map((bytes) =>
      Uint8Array.from(bytes)
    ),
    seeds: seeds(),
    run(bytes, features) {
      const how = bytes[0] ?? 0;
      const type = TYPES[how & 1];
      const cluster = clusters[how >> 1 & 1];
      try {
        decompress(type, bytes.subarray(1), cluster.bytes);
        features.hit(Kind.DONE, how & 3);
      } catch (error) {
        const { cause } = error as Error;
        if (!(cause instanceof CorruptStreamError)) throw error;
        invariant(/^[\x20-\x7e]+$/.test(cause.message), `an error: ${JSON.stringify(cause.message)}`);
        features.message(Kind.CORRUPT, `${how & 3} ${cause.message}`);
      }
      for (let at = 0; at < cluster.bytes.length; at += 64) {
        features.hit(Kind.BYTES, how & 3, at, cluster.bytes[at] & 7);
      }
      cluster.bytes.fill(0);
      cluster.check();
    },
  };
}
