/**
 * Checks the entries of L2 tables and counts the clusters that they refer to.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import { COMPRESSED, compressedExtent, COPIED, entryOffset, hasReservedL2Bits, ZERO } from "./entries.ts";
import { hex64 } from "./findings.ts";
import type { Inspection } from "./inspection.ts";
import type { L2Table } from "./mapping_walk.ts";
import { Use } from "./reference_counts.ts";

/** Checks tables of one kind: those of the active L1 table, or those of snapshots. */
export class L2Inspector {
  readonly #inspection: Inspection;
  readonly #active: boolean;
  /** Where the next cluster of the table begins if it is not fragmented; 0 at the table's beginning. */
  #next = 0;

  constructor(inspection: Inspection, active: boolean) {
    this.#inspection = inspection;
    this.#active = active;
  }

  /** Checks a table. */
  *inspect(table: L2Table): Coroutine<void> {
    const { geometry } = this.#inspection;
    const { l2EntrySize, extendedL2 } = geometry;
    this.#next = 0;
    for (let at = 0; at < table.view.byteLength; at += l2EntrySize) {
      const hi = table.view.getUint32(at);
      const lo = table.view.getUint32(at + 4);
      const zeroes = extendedL2 ? table.view.getUint32(at + 8) : 0;
      const allocated = extendedL2 ? table.view.getUint32(at + 12) : 0;
      if (hi === 0 && lo === 0 && allocated === 0) continue;
      if ((hi & COMPRESSED) !== 0) {
        this.#compressed(hi, lo, zeroes !== 0 || allocated !== 0, table.times);
        continue;
      }
      const reserved = hasReservedL2Bits(hi, lo, geometry.zeroFlag);
      if (reserved) this.#wrong(hi, lo, "has reserved bits set", table.times);
      const offset = entryOffset(hi, lo);
      // The first cluster of a data file is at offset 0.
      const first = geometry.externalData && (hi & COPIED) !== 0 && !(geometry.zeroFlag && (lo & ZERO) !== 0);
      if (offset !== 0 || first) {
        this.#standard(hi, lo, zeroes, allocated, at, table);
        if (this.#active) {
          const refcount = this.#refcountAtHand(offset) ?? (yield* this.#refcount(offset));
          this.#copied(hi, lo, refcount, table.times);
        }
      } else if (allocated !== 0) {
        this.#lost(hi, lo, "has subclusters, but no cluster", table.times);
      } else if (reserved) {
        this.#inspection.lostEntries = true;
      }
    }
  }

  #wrong(hi: number, lo: number, problem: string, times: number): void {
    this.#inspection.findings.corruption(`L2 entry ${hex64(hi, lo)} ${problem}`, times);
  }

  /** Says what is wrong with an entry that does not tell, for certain, where its data are. */
  #lost(hi: number, lo: number, problem: string, times: number): void {
    this.#wrong(hi, lo, problem, times);
    this.#inspection.lostEntries = true;
  }

  #compressed(hi: number, lo: number, bitmap: boolean, times: number): void {
    const { geometry, header, allocation } = this.#inspection;
    if ((hi & COPIED) !== 0) this.#lost(hi, lo, "is compressed and has the copied flag", times);
    if (geometry.externalData) {
      this.#lost(hi, lo, "is compressed, though an external data file holds the data", times);
      return;
    }
    if (bitmap) {
      this.#lost(hi, lo, "is compressed and has subclusters", times);
      return;
    }
    if (this.#active) {
      // They share sectors with their neighbours, which are then read twice.
      allocation.allocated += times;
      allocation.compressed += times;
      allocation.fragmented += times;
    }
    const extent = compressedExtent(hi, lo, header.clusterBits);
    if (extent === undefined) this.#lost(hi, lo, "has an offset beyond 56 bits", times);
    else this.#use(extent.offset, extent.length, times, Use.COMPRESSED);
  }

  #standard(hi: number, lo: number, zeroes: number, allocated: number, at: number, table: L2Table): void {
    const { geometry, allocation } = this.#inspection;
    const { clusterSize } = geometry;
    const { times } = table;
    const offset = entryOffset(hi, lo);
    if ((zeroes & allocated) !== 0) this.#wrong(hi, lo, "has subclusters that are allocated and read as zeroes", times);
    if (offset % clusterSize !== 0) this.#lost(hi, lo, "is not on a cluster boundary", times);
    if (this.#active) {
      allocation.allocated += times;
      if (this.#next !== 0 && offset !== this.#next) allocation.fragmented += times;
      this.#next = offset + clusterSize;
    }
    if (!geometry.externalData) {
      this.#use(offset, clusterSize, times, Use.DATA);
      return;
    }
    const guest = (table.l1Index * geometry.l2Entries + at / geometry.l2EntrySize) * clusterSize;
    if (offset !== guest) {
      this.#wrong(hi, lo, `is not at the guest offset 0x${guest.toString(16)} of the data file`, times);
    }
  }

  #use(offset: number, length: number, times: number, use: number): void {
    if (!this.#inspection.use(offset, length, times, use)) this.#inspection.lostEntries = true;
  }

  /** The refcount of a place, if nothing has to be read for it; with an external data file it always is one. */
  #refcountAtHand(offset: number): number | undefined {
    const { stored, geometry } = this.#inspection;
    if (geometry.externalData) return 1;
    const cluster = Math.floor(offset / geometry.clusterSize);
    const index = Math.floor(cluster / stored.perBlock);
    const block = stored.peek(index);
    if (block) return stored.codec.get(block, cluster % stored.perBlock);
    return block === null && !stored.isUnknown(index) ? 0 : undefined;
  }

  *#refcount(offset: number): Coroutine<number | undefined> {
    const { stored, geometry } = this.#inspection;
    return yield* stored.get(Math.floor(offset / geometry.clusterSize));
  }

  /** The copied flag tells that the refcount is one. */
  #copied(hi: number, lo: number, refcount: number | undefined, times: number): void {
    if (refcount === undefined || (refcount === 1) === ((hi & COPIED) !== 0)) return;
    this.#inspection.wrongCopiedFlags += times;
    const problem = () => `L2 entry ${hex64(hi, lo)} has a wrong copied flag: its cluster's refcount is ${refcount}`;
    this.#inspection.findings.wrongRefcount(problem, times);
  }
}
