/**
 * Reading guest data.
 *
 * @module
 */
import { decompress } from "../compression.ts";
import { type Completion, type Coroutine, type Wait, waitFor, waitForAll } from "../coroutine.ts";
import type { Engine } from "./commit.ts";
import { compressedExtent } from "./entries.ts";
import { CompressionType } from "./header.ts";
import { Kind } from "./mapping.ts";
import type { ImageState } from "./state.ts";

/**
 * Reads a part of the disk, whose range the caller holds.
 *
 * @param offset,into Lie inside the disk, or in the last cluster of it.
 */
export function* readGuest(engine: Engine, offset: number, into: Uint8Array): Coroutine<void> {
  const { state, mapping } = engine;
  const waits: Wait[] = [];
  for (let at = 0; at < into.length;) {
    const guest = offset + at;
    const table = yield* mapping.table(guest);
    const { kind, length, host, hi, lo } = mapping.find(table, guest, into.length - at);
    const part = into.subarray(at, at + length);
    if (kind === Kind.DATA) waits.push((done) => state.dataFile.read(host, part, done));
    else if (kind === Kind.ZERO) part.fill(0);
    else if (kind === Kind.UNALLOCATED) waits.push((done) => readBacking(state, guest, part, done));
    else yield* readCompressed(state, hi, lo, guest % state.clusterSize, part);
    at += length;
  }
  yield* waitForAll(waits);
}

/** Reads what the backing file has; zeroes where there is none, or behind its end. */
function readBacking({ backing }: ImageState, guest: number, into: Uint8Array, done: Completion): void {
  const there = backing === undefined ? 0 : Math.max(0, Math.min(into.length, backing.size - guest));
  into.fill(0, there);
  if (backing === undefined || there === 0) done();
  else backing.read(guest, there === into.length ? into : into.subarray(0, there), done);
}

function* readCompressed(
  state: ImageState,
  hi: number,
  lo: number,
  within: number,
  into: Uint8Array,
): Coroutine<void> {
  const { header, clusterSize, file, decompressed } = state;
  const known = decompressed.get(hi, lo);
  if (known !== undefined) return into.set(known.subarray(within, within + into.length));
  const extent = compressedExtent(hi, lo, header.clusterBits);
  if (extent === undefined || extent.offset >= file.size) state.corrupt(`a compressed cluster has no valid offset`);
  const first = Math.floor(extent.offset / clusterSize);
  const last = Math.floor((extent.offset + extent.length - 1) / clusterSize);
  for (let cluster = first; cluster <= last; cluster++) {
    if (state.metadata.has(cluster)) {
      state.corrupt(`a compressed cluster at 0x${extent.offset.toString(16)} is metadata`);
    }
  }
  const data = new Uint8Array(extent.length);
  yield* waitFor((done) => file.read(extent.offset, data, done));
  const whole = within === 0 && into.length === clusterSize ? into : new Uint8Array(clusterSize);
  try {
    decompress(header.compressionType === CompressionType.ZSTD ? "zstd" : "deflate", data, whole);
  } catch (cause) {
    const where = `0x${extent.offset.toString(16)} of ${file.name}`;
    throw new Error(`Cannot decompress the cluster at ${where}`, { cause });
  }
  if (whole === into) return;
  decompressed.set(hi, lo, whole);
  into.set(whole.subarray(within, within + into.length));
}

/** Whether a range reads as zeroes because nothing is there, as far as the tables tell. */
export function* readsAsZero({ state, mapping }: Engine, offset: number, length: number): Coroutine<boolean> {
  for (let at = 0; at < length;) {
    const table = yield* mapping.table(offset + at);
    const { kind, length: found } = mapping.find(table, offset + at, length - at);
    const zero = kind === Kind.ZERO || (kind === Kind.UNALLOCATED && (state.backing?.size ?? 0) <= offset + at);
    if (!zero) return false;
    at += found;
  }
  return true;
}
