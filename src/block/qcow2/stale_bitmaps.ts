/**
 * Gives up the persistent bitmaps of an image that is about to change.
 *
 * Bitmaps tell what has changed since some time, which is wrong as soon as a program writes that does not keep them. For such programs
 * there is the autoclear bit (qcow2 specification, "autoclear_features" and "Bitmaps extension"). Without it QEMU takes the bitmaps for
 * lost, and tells people to repair the image, in which their clusters are leaks then. Here, the clusters are given back.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../coroutine.ts";
import { readBitmapEntries } from "./bitmaps.ts";
import type { Engine } from "./commit.ts";
import { entryOffset } from "./entries.ts";
import { CHUNK, readBytes } from "./file_io.ts";
import { Autoclear, hasFeature, type Qcow2Header } from "./header.ts";
import { ExtensionType } from "./header_extensions.ts";
import { type ImageState, SECTOR } from "./state.ts";

/** Clusters that are given back; with more, as with anything that is strange about bitmaps, all are left to a repair. */
const MOST_CLUSTERS = 65536;

/**
 * Clears the autoclear bits of what is not kept up to date here, before the first change of the image. For the holder of the metadata
 * mutex.
 *
 * The bit is off on stable storage before the next commit takes the bitmaps' refcounts down: a crash leaves leaks at worst.
 */
export function* clearAutoclear(engine: Engine): Coroutine<void> {
  const { state } = engine;
  if (!state.hasStaleAutoclear) return;
  const clusters = yield* bitmapClusters(engine);
  const extension = hasBitmaps(state) ? lastExtension(state.header, ExtensionType.BITMAPS) : undefined;
  // With the bit, if both are in the sector that is written at once; else after it.
  if (extension !== undefined) state.sector.fill(0, extension, extension + END_BYTES);
  yield* state.clearAutoclear();
  for (const cluster of clusters) state.released.push(cluster);
  if (extension === undefined || extension < SECTOR) return;
  yield* waitFor((done) => state.file.write(extension, new Uint8Array(END_BYTES), done));
}

/** Bytes of the mark at the end of the extensions, which are zero: it never crosses a sector. */
const END_BYTES = 8;

function hasBitmaps({ header }: ImageState): boolean {
  return hasFeature(header.autoclearFeatures, Autoclear.BITMAPS);
}

/**
 * Where the last extension of the header is, in bytes; it can be cut off. One that others follow, as QEMU makes none, stays: without the
 * autoclear bit it means nothing.
 *
 * @returns `undefined` if it is of another type.
 */
function lastExtension({ extensions, headerLength }: Qcow2Header, type: number): number | undefined {
  if (extensions.at(-1)?.type !== type) return undefined;
  const sizes = extensions.slice(0, -1).map(({ data }) => 8 + Math.ceil(data.length / 8) * 8);
  return sizes.reduce((sum, size) => sum + size, headerLength);
}

/** The clusters of all bitmaps, their tables and their directory; none if it is not certain that they have no other use. */
function* bitmapClusters(engine: Engine): Coroutine<readonly number[]> {
  const { state, refcounts } = engine;
  if (!hasBitmaps(state)) return [];
  try {
    const clusters = yield* collectClusters(state);
    const sorted = Float64Array.from(clusters).sort();
    for (const [index, cluster] of sorted.entries()) {
      const inFile = cluster > 0 && Number.isInteger(cluster) && cluster * state.clusterSize < state.fileEnd;
      if (!inFile || sorted[index - 1] === cluster || state.metadata.has(cluster)) return [];
      if ((yield* refcounts.get(cluster)) !== 1) return [];
    }
    return clusters;
  } catch {
    // Whatever cannot be read, or makes no sense, is no reason to fail a write: a check finds it.
    return [];
  }
}

/** @returns the clusters, unchecked; none if there are more than {@linkcode MOST_CLUSTERS}. */
function* collectClusters({ file, header, clusterSize }: ImageState): Coroutine<readonly number[]> {
  if (header.bitmaps === undefined) return [];
  const clusters: number[] = [];
  const add = (offset: number, length: number) => {
    const count = Math.min(Math.ceil(length / clusterSize), MOST_CLUSTERS + 1);
    for (let i = 0; i < count && clusters.length <= MOST_CLUSTERS; i++) clusters.push(offset / clusterSize + i);
  };
  add(header.bitmaps.directoryOffset, header.bitmaps.directorySize);
  for (const { tableOffset, tableSize } of yield* readBitmapEntries(file, header)) {
    add(tableOffset, tableSize * 8);
    for (let at = 0; at < tableSize * 8 && clusters.length <= MOST_CLUSTERS; at += CHUNK) {
      const view = new DataView((yield* readBytes(file, tableOffset + at, Math.min(CHUNK, tableSize * 8 - at))).buffer);
      for (let i = 0; i < view.byteLength; i += 8) {
        const offset = entryOffset(view.getUint32(i), view.getUint32(i + 4));
        if (offset !== 0) add(offset, clusterSize);
      }
    }
  }
  return clusters.length > MOST_CLUSTERS ? [] : clusters;
}
