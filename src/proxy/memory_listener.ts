/**
 * Which regions of guest RAM a device process is told of.
 *
 * @module
 */
import { MAX_REGIONS, type SystemMemoryRegion } from "../link/message.ts";

/**
 * Merges RAM ranges into the regions of a SYNC_SYSMEM.
 *
 * Ranges that follow each other both in the guest and in the memfd become one. Where more are left than the message has room
 * for, the smallest gaps between neighbours that lie equally far apart in both are closed: what lies in such a gap is memory of
 * the guest's own, which the chipset does not show at the moment.
 *
 * @param ranges By ascending guest-physical address, not overlapping; all in one memfd.
 * @throws {RangeError} when they cannot be merged into few enough regions.
 */
export function mergeRegions(ranges: readonly SystemMemoryRegion[]): SystemMemoryRegion[] {
  const regions: SystemMemoryRegion[] = [];
  for (const range of ranges) {
    const last = regions.at(-1);
    if (last !== undefined && gapBetween(last, range) === 0) regions[regions.length - 1] = joined(last, range);
    else regions.push(range);
  }
  while (regions.length > MAX_REGIONS) closeSmallestGap(regions);
  return regions;
}

/** Bytes between two regions, or Infinity where the gap has another size in the memfd. */
function gapBetween(a: SystemMemoryRegion, b: SystemMemoryRegion): number {
  const gap = b.gpa - (a.gpa + a.size);
  return gap === b.offset - (a.offset + a.size) ? gap : Infinity;
}

function joined(a: SystemMemoryRegion, b: SystemMemoryRegion): SystemMemoryRegion {
  return { gpa: a.gpa, offset: a.offset, size: b.gpa + b.size - a.gpa };
}

function closeSmallestGap(regions: SystemMemoryRegion[]): void {
  const gaps = regions.slice(1).map((region, i) => gapBetween(regions[i], region));
  const smallest = Math.min(...gaps);
  if (smallest === Infinity) {
    throw new RangeError(`Guest RAM in ${regions.length} separate regions does not fit a message of ${MAX_REGIONS}`);
  }
  const at = gaps.indexOf(smallest);
  regions.splice(at, 2, joined(regions[at], regions[at + 1]));
}
