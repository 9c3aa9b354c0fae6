/**
 * Compressed clusters of qcow2 images: deflate and Zstandard (docs/interop/qcow2.txt of QEMU, "compression_type").
 *
 * Decompression is the project's own code, and writes into memory that is there already. Node's zlib module keeps memory for every
 * stream that turns out corrupt until its thread returns to JavaScript's event loop, which a device process's never does;
 * and a guest can read a corrupt cluster as often as it likes. Compression has no such errors, and is that module's.
 *
 * @module
 */
import { decompressZstd } from "./compression/zstd.ts";
import { inflateRaw } from "./compression/inflate.ts";

/** What a cluster is compressed by. Deflate has no header, and a window of 4 KiB. */
export type CompressionType = "deflate" | "zstd";

/**
 * Decompresses a cluster.
 *
 * @param data The compressed bytes; others may follow them.
 * @param into The cluster, which is filled.
 * @throws {Error} one line that says what is wrong with the data. What `into` holds is then of no account.
 */
export function decompress(type: CompressionType, data: Uint8Array, into: Uint8Array): void {
  try {
    if (type === "zstd") decompressZstd(data, into);
    else inflateRaw(data, into);
  } catch (cause) {
    throw new Error(`Cannot decompress (${type})`, { cause });
  }
}

type Zlib = typeof import("node:zlib");

let zlib: Zlib | undefined;

/** Loads the module when it is first needed: an import would cost 20 ms at every start. */
function loadZlib(): Zlib {
  const { process } = globalThis as unknown as { process: { getBuiltinModule(name: "node:zlib"): Zlib } };
  return process.getBuiltinModule("node:zlib");
}

/** The window of deflate, as a power of two: QEMU inflates with no larger one. */
const DEFLATE_WINDOW = 12;
/** Memory for the sake of speed, zlib's highest, which is QEMU's choice as well. */
const DEFLATE_MEMORY = 9;

/**
 * Compresses a cluster.
 *
 * @returns the compressed bytes, or `undefined` when they would be no fewer.
 */
export function compress(type: CompressionType, data: Uint8Array): Uint8Array | undefined {
  zlib ??= loadZlib();
  const compressed = type === "zstd"
    ? zlib.zstdCompressSync(data)
    : zlib.deflateRawSync(data, { windowBits: DEFLATE_WINDOW, memLevel: DEFLATE_MEMORY });
  return compressed.length < data.length ? new Uint8Array(compressed) : undefined;
}
