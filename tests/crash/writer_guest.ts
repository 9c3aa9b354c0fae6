/**
 * A guest in a machine of its own that writes to its disk without end, and says what it was told is on stable storage.
 *
 * @module
 */
import scripts from "../../guests/demo/scripts.asm" with { type: "text" };
import { buildPvhGuest } from "../../guests/pvh_guest.ts";
import writer from "./guest/writer.asm" with { type: "text" };
import type { Journal } from "./journal.ts";
import { readSector, SECTOR } from "./sector.ts";

/** What the guest prints before its first write. */
export const WRITER_READY = "ready\r\n";
/** What it prints when its disk has gone, before it powers off. */
export const WRITER_ALONE = "gone\r\n";

/** The largest write, in sectors: MAX_COUNT in `writer.asm`. */
const MAX_COUNT = 128;

/** Writes that a guest may be ahead of what it was heard to say: more than it makes in a minute. */
const MOST_AHEAD = 1_000_000;

/** What tells one run of the guest from another. */
export interface WriterRun {
  /** The number of its first write, which is also what that one writes; the others follow. */
  readonly firstId: number;
  /** From which it follows where writes go; 32 bits. */
  readonly seed: number;
  /** Sectors of the disk. */
  readonly sectors: number;
}

/** The guest as a PVH ELF file. */
export function buildWriterKernel({ firstId, seed, sectors }: WriterRun): Uint8Array<ArrayBuffer> {
  const constants = { FIRST_ID: firstId, SEED: seed, SECTORS: sectors };
  return buildPvhGuest(writer, { constants, files: { "scripts.asm": scripts } });
}

/** Where a write goes: `choose` in `writer.asm`. */
export function placeOfWrite(id: number, { seed, sectors }: WriterRun): { sector: number; count: number } {
  let choice = Math.imul(id ^ seed, 0x85ebca6b);
  choice = Math.imul(choice ^ choice >>> 15, 0x2c1b3c6d);
  choice ^= choice >>> 13;
  return {
    sector: (choice >>> 10) % (sectors - MAX_COUNT),
    count: 1 + ((choice >>> 3) & ((1 << (choice & 7)) - 1)),
  };
}

/** The last write that the guest was told is on stable storage; `undefined` where it did not say so of any. */
export function lastFlushed(console: string): number | undefined {
  const last = [...console.matchAll(/^flushed (\d+)\r$/gm)].at(-1);
  return last === undefined ? undefined : Number(last[1]);
}

/**
 * Writes down what a guest did before it was killed, from what it said and from what is there: it may have come further than it was heard
 * to say.
 *
 * @param content All that the disk holds.
 */
export function recordRun(journal: Journal, run: WriterRun, console: string, content: Uint8Array): void {
  const flushed = lastFlushed(console) ?? run.firstId - 1;
  let last = flushed;
  for (let sector = 0; sector < run.sectors; sector++) {
    last = Math.max(last, readSector(content.subarray(sector * SECTOR, (sector + 1) * SECTOR), sector));
  }
  if (last > flushed + MOST_AHEAD) throw new Error(`The disk holds the write ${last}, but ${flushed} was flushed last`);
  for (let id = run.firstId; id <= last; id++) {
    const { sector, count } = placeOfWrite(id, run);
    const change = journal.issue(sector, count, id);
    if (id <= flushed) journal.acknowledge(change, true);
  }
}
