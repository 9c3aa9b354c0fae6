/**
 * Makes the active L1 table of an image longer, where it is or in another place.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { inspectAndCompare } from "./check.ts";
import { adjustRefcounts } from "./compare.ts";
import { readBytes, syncFile, writeBytes } from "./file_io.ts";
import { lastOfOldRefcounts, writeFreshRefcounts } from "./fresh_refcounts.ts";
import { HeaderField, Limits, type Qcow2Header, readHeader, setUint64 } from "./header.ts";
import { inspect, type Inspection } from "./inspection.ts";
import { Use } from "./reference_counts.ts";

/**
 * Sees to it that the L1 table has so many entries; new ones are zero.
 *
 * @throws {Error} when an L1 table cannot be that long, or the image has errors and the table would have to move.
 */
export function* growL1(file: HostFile, header: Qcow2Header, entries: number): Coroutine<void> {
  const { l1Size, l1TableOffset, clusterBits } = header;
  const clusterSize = 2 ** clusterBits;
  if (entries <= l1Size) return;
  if (entries * 8 > Limits.MAX_L1_TABLE) {
    throw new Error(`Cannot resize ${file.name}: the size is too large for clusters of ${clusterSize} bytes`);
  }
  const clusters = (count: number) => Math.ceil(count * 8 / clusterSize);
  if (l1Size > 0 && clusters(entries) === clusters(l1Size)) {
    yield* writeBytes(file, l1TableOffset + l1Size * 8, new Uint8Array((entries - l1Size) * 8));
    yield* syncFile(file);
    yield* writeL1Place(file, l1TableOffset, entries);
    return;
  }
  const offset = (yield* reserve(file, header, clusters(entries))) * clusterSize;
  const table = new Uint8Array(clusters(entries) * clusterSize);
  table.set(yield* readBytes(file, l1TableOffset, l1Size * 8));
  yield* writeBytes(file, offset, table);
  yield* syncFile(file);
  yield* writeL1Place(file, offset, entries);
  yield* adjustRefcounts(yield* inspect(file, yield* readHeader(file)), "down");
}

/** Both fields lie in one sector, which storage writes as a whole. */
function* writeL1Place(file: HostFile, offset: number, entries: number): Coroutine<void> {
  const fields = new DataView(new ArrayBuffer(12));
  fields.setUint32(0, entries);
  setUint64(fields, HeaderField.L1_TABLE_OFFSET - HeaderField.L1_SIZE, offset);
  yield* writeBytes(file, HeaderField.L1_SIZE, new Uint8Array(fields.buffer));
  yield* syncFile(file);
}

/** Raises the refcounts of clusters in a row behind everything else. @returns the first. */
function* reserve(file: HostFile, header: Qcow2Header, count: number): Coroutine<number> {
  const inspection = yield* healthy(file, header);
  const first = Math.max(inspection.counts.highest, lastOfOldRefcounts(inspection)) + 1;
  const take = ({ counts }: Inspection) => {
    for (let i = 0; i < count; i++) counts.add(first + i, 1, Use.L1_TABLE);
  };
  take(inspection);
  const { stored, geometry } = inspection;
  if (file.kind === "device" && (first + count) * geometry.clusterSize > file.size) {
    throw new Error(`Cannot resize ${file.name}: the device has no room for a longer L1 table`);
  }
  const lastBlock = Math.floor((first + count - 1) / stored.perBlock);
  let covered = true;
  for (let block = Math.floor(first / stored.perBlock); block <= lastBlock; block++) covered &&= stored.hasBlock(block);
  if (covered) {
    yield* adjustRefcounts(inspection, "up");
  } else {
    const anew = yield* inspect(file, header, { countRefcounts: false });
    take(anew);
    yield* writeFreshRefcounts(anew);
  }
  return first;
}

/**
 * Walks an image whose tables are about to change.
 *
 * @throws {Error} when it has errors.
 */
export function* healthy(file: HostFile, header: Qcow2Header): Coroutine<Inspection> {
  const { inspection } = yield* inspectAndCompare(file, header, {});
  const { corruptions, checkErrors } = inspection.findings;
  if (corruptions + checkErrors > 0) {
    throw new Error(
      `Cannot resize ${file.name}: it has ${corruptions + checkErrors} errors, which are to be repaired first`,
    );
  }
  return inspection;
}
