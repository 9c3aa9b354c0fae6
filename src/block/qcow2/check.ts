/**
 * Checks a qcow2 image for consistency, without changing it.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { compareRefcounts } from "./compare.ts";
import type { CheckResult } from "./findings.ts";
import { type Qcow2Header, readHeader } from "./header.ts";
import { inspect, type Inspection, type InspectionOptions } from "./inspection.ts";

export { type CheckReport, checkReport, type CheckResult } from "./findings.ts";

/** What a check tells while it works. */
export type CheckOptions = Pick<InspectionOptions, "report" | "progress" | "effort">;

/**
 * Walks an image and compares its refcounts with what refers to its clusters.
 *
 * Memory and time go with the size of the image's tables. The image may be open elsewhere for reading only.
 *
 * @throws {TooLargeError} when they take more than the effort allows, by default that of `OFFLINE_LIMITS`.
 * @throws {Error} when the header makes no sense, or the file cannot be read.
 */
export function* checkQcow2(file: HostFile, options: CheckOptions = {}): Coroutine<CheckResult> {
  const { inspection, end } = yield* inspectAndCompare(file, yield* readHeader(file), options);
  options.progress?.(1);
  return summary(inspection, end);
}

/** What a check knows of an image. */
export interface CheckedImage {
  readonly inspection: Inspection;
  /** Where the last cluster in use ends, in bytes. */
  readonly end: number;
}

/** Walks an image and counts refcounts that are wrong. */
export function* inspectAndCompare(
  file: HostFile,
  header: Qcow2Header,
  options: InspectionOptions,
): Coroutine<CheckedImage> {
  const inspection = yield* inspect(file, header, options);
  const { findings, counts, stored } = inspection;
  let end = 0;
  yield* compareRefcounts(inspection, (cluster, refcount, references, hasBlock) => {
    end = cluster + 1;
    const excess = references < stored.codec.max ? 0 : counts.count(cluster) - stored.codec.max;
    if (excess > 0) {
      findings.corruption(
        `cluster ${cluster} has more references than a refcount of ${stored.codec.max} can tell`,
        excess,
      );
    }
    const conflict = references > 0 ? counts.conflict(cluster) : undefined;
    if (refcount !== undefined && refcount !== references) {
      const mismatch = () => `cluster ${cluster} refcount=${refcount} reference=${references}`;
      if (refcount > references) findings.leak(mismatch);
      else findings.wrongRefcount(mismatch);
      if (references > refcount && !hasBlock) inspection.brokenRefcounts = true;
      if (conflict !== undefined) findings.damage(`cluster ${cluster} is used as ${conflict}`);
    } else if (conflict !== undefined) {
      findings.corruption(`cluster ${cluster} is used as ${conflict}`);
    }
    return undefined;
  });
  return { inspection, end: end * inspection.geometry.clusterSize };
}

/** The result of a check that repaired nothing. */
export function summary({ findings, allocation, header, geometry }: Inspection, imageEndOffset: number): CheckResult {
  return {
    checkErrors: findings.checkErrors,
    corruptions: findings.corruptions,
    leaks: findings.leaks,
    corruptionsFixed: 0,
    leaksFixed: 0,
    imageEndOffset,
    totalClusters: Math.ceil(header.size / geometry.clusterSize),
    allocatedClusters: allocation.allocated,
    fragmentedClusters: allocation.fragmented,
    compressedClusters: allocation.compressed,
  };
}
