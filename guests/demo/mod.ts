/**
 * The demo guest, and the disk that it expects to find at SCSI target 0 of an LSI 53C895A.
 *
 * @module
 */

import { buildPvhGuest } from "../pvh_guest.ts";
import source from "./demo.asm" with { type: "text" };
import lsi from "./lsi.asm" with { type: "text" };
import scripts from "./scripts.asm" with { type: "text" };

/** What the guest does to the disk. Sectors have 512 bytes. */
export const DemoDisk = {
  SECTOR_SIZE: 512,
  /** A small disk: 1 MiB. */
  SECTORS: 2048,
  /** Where {@linkcode buildDemoDisk} puts the text that the guest reads and prints. */
  READ_SECTOR: 7,
  GREETING: "Hello from the disk image, sector 7",
  /** Where the guest writes. */
  WRITE_SECTOR: 42,
  MESSAGE: "Written by the guest, through SCRIPTS and DMA",
} as const;

/** What the guest prints last when all went well begins with this. */
export const DEMO_SUCCESS = "guest: done after ";
/** Stands before the reason in the line that tells of a failure. */
export const DEMO_FAILURE = "guest: FAILED: ";

/** The guest as a PVH ELF file. */
export function buildDemoKernel(): Uint8Array<ArrayBuffer> {
  const { READ_SECTOR, WRITE_SECTOR } = DemoDisk;
  return buildPvhGuest(source, {
    constants: { READ_SECTOR, WRITE_SECTOR },
    files: { "lsi.asm": lsi, "scripts.asm": scripts },
  });
}

/** The disk image before the guest runs: {@linkcode DemoDisk.WRITE_SECTOR} is still empty. */
export function buildDemoDisk(): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(DemoDisk.SECTORS * DemoDisk.SECTOR_SIZE);
  image.set(new TextEncoder().encode(DemoDisk.GREETING), DemoDisk.READ_SECTOR * DemoDisk.SECTOR_SIZE);
  return image;
}

/** The text at the start of a sector of a disk image, up to the first NUL. */
export function textOfSector(image: Uint8Array, sector: number): string {
  const bytes = image.subarray(sector * DemoDisk.SECTOR_SIZE, (sector + 1) * DemoDisk.SECTOR_SIZE);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
