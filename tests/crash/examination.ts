/**
 * What is looked at after a crash: the image by QEMU, and the disk in it beside the journal of what was written to it.
 *
 * @module
 */
import { happens } from "./chance.ts";
import { contentByQemu, type CrashImage, findErrors, repair } from "./images.ts";
import { describeValue, type Journal } from "./journal.ts";
import { readSector, SECTOR } from "./sector.ts";

/** Compares what a disk holds with what it may hold. It is what counts from then on. */
export function verify(content: Uint8Array, journal: Journal): void {
  for (let sector = 0; sector < journal.sectors; sector++) {
    const value = readSector(content.subarray(sector * SECTOR, (sector + 1) * SECTOR), sector);
    const possible = journal.possibleValues(sector);
    if (!possible.includes(value)) {
      const expected = possible.map(describeValue).join(" or ");
      throw new Error(`After a crash sector ${sector} holds ${describeValue(value)}, not ${expected}`);
    }
    journal.settle(sector, value);
  }
}

/** @throws {Error} when QEMU finds an error in an image; leaks are none. */
export function requireNoErrors({ kind, path }: CrashImage): void {
  const wrong = kind.format === "qcow2" ? findErrors(path) : undefined;
  if (wrong !== undefined) throw new Error(wrong);
}

/** What QEMU makes of the image after a crash. Sometimes it repairs it. */
export function examine(image: CrashImage): void {
  const { kind, path } = image;
  if (kind.format !== "qcow2") return;
  if (!kind.lazy) requireNoErrors(image);
  if (happens(0.3)) repair(path, kind.lazy ? "all" : "leaks");
}

/** Compares the disk as QEMU sees it with what it may hold. */
export function verifyByQemu(image: CrashImage, folder: string, journal: Journal): void {
  verify(contentByQemu(image, folder), journal);
}
