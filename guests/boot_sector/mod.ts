/**
 * A boot disk for PC firmware, which proves the way from int 13h to the image and back.
 *
 * @module
 */

import { assemble } from "../assembler/mod.ts";
import source from "./boot_sector.asm" with { type: "text" };

/** What is on the disk. Sectors have 512 bytes. */
export const BootDisk = {
  SECTOR_SIZE: 512,
  /** Just under 2 MiB: four cylinders of 16 heads and 63 sectors, because int 13h cannot speak of 64 sectors. */
  SECTORS: 4 * 16 * 63,
  /** Read by its number (int 13h, function 42h). */
  LBA_TEXT_SECTOR: 20,
  LBA_TEXT: "this text lies in sector 20",
  /** Read by cylinder, head and sector (function 02h). */
  CHS_TEXT_SECTOR: 100,
  CHS_TEXT: "this text lies in sector 100",
  /** Read with one call: 32 KiB. */
  BLOCK_SECTOR: 256,
  BLOCK_SECTORS: 64,
  /** Written (function 43h), and empty before. */
  WRITE_SECTOR: 1000,
  WRITTEN_TEXT: "Written by the boot sector's second stage through int 13h",
} as const;

/** Stands before the reason in the line that tells of a failure. */
export const BOOT_FAILURE = ": FAILED";

/** The lines on the serial port, in order, when all goes well. Firmware may print others before. */
export const BOOT_LINES: readonly string[] = [
  "boot: running the boot sector of drive 0x80",
  "boot: loaded the second stage",
  `boot: extended read: ${BootDisk.LBA_TEXT}`,
  `boot: CHS read: ${BootDisk.CHS_TEXT}`,
  `boot: block read: sum 0x${blockSum().toString(16).padStart(8, "0")}`,
  `boot: extended write, read back: ${BootDisk.WRITTEN_TEXT}`,
  "boot: done",
];

/** The disk image before the machine boots from it. */
export function buildBootDisk(): Uint8Array<ArrayBuffer> {
  const { SECTOR_SIZE, LBA_TEXT_SECTOR, CHS_TEXT_SECTOR, BLOCK_SECTOR, BLOCK_SECTORS, WRITE_SECTOR } = BootDisk;
  const image = new Uint8Array(BootDisk.SECTORS * SECTOR_SIZE);
  const constants = { LBA_TEXT_SECTOR, CHS_TEXT_SECTOR, BLOCK_SECTOR, BLOCK_SECTORS, WRITE_SECTOR };
  image.set(assemble(source, { constants }).bytes);
  const encoder = new TextEncoder();
  image.set(encoder.encode(BootDisk.LBA_TEXT), LBA_TEXT_SECTOR * SECTOR_SIZE);
  image.set(encoder.encode(BootDisk.CHS_TEXT), CHS_TEXT_SECTOR * SECTOR_SIZE);
  image.set(block(), BLOCK_SECTOR * SECTOR_SIZE);
  return image;
}

/** Bytes without a pattern that a wrong page order or a repeated sector would keep: a linear congruential sequence. */
function block(): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: BootDisk.BLOCK_SECTORS * BootDisk.SECTOR_SIZE }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** The sum of the block's little-endian dwords, modulo 2^32. */
function blockSum(): number {
  const view = new DataView(block().buffer);
  let sum = 0;
  for (let at = 0; at < view.byteLength; at += 4) sum = (sum + view.getUint32(at, true)) >>> 0;
  return sum;
}
