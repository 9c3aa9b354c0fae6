/**
 * What `grub-install` puts before the first partition of a disk for PC firmware: GRUB's boot sector with the partition table in it, and
 * GRUB's core image behind.
 *
 * @module
 */

export const SECTOR_SIZE = 512;

/** Where the partition begins, in sectors: the core image lies between the MBR and it. */
export const PARTITION_START = 2048;

/** An MBR's partition table: four entries of 16 bytes. GRUB's boot sector has code for floppy disks there. */
const PARTITION_TABLE = { START: 0x1be, END: 0x1fe } as const;
const PARTITION_ACTIVE = 0x80;
const PARTITION_TYPE_LINUX = 0x83;
/** Cylinder, head and sector of what lies beyond their reach. */
const CHS_BEYOND = [0xfe, 0xff, 0xff];

/** GRUB's two parts, and the only partition. */
export interface BootTrack {
  /** `boot.img`. */
  readonly bootSector: Uint8Array;
  /** What `grub-mkimage` makes for `i386-pc`. */
  readonly core: Uint8Array;
  /** Size of the partition in sectors. */
  readonly partitionSectors: number;
}

/** Lays out all sectors before {@linkcode PARTITION_START}. @throws {RangeError} when the core image does not fit in. */
export function layOutBootTrack({ bootSector, core, partitionSectors }: BootTrack): Uint8Array<ArrayBuffer> {
  const track = new Uint8Array(PARTITION_START * SECTOR_SIZE);
  track.set(bootSector);
  track.fill(0, PARTITION_TABLE.START, PARTITION_TABLE.END);
  track.set(partitionEntry(partitionSectors), PARTITION_TABLE.START);
  // The boot sector expects the core image in sector 1, and the core image's first sector the rest of it in the next: their defaults.
  track.set(core, SECTOR_SIZE);
  return track;
}

function partitionEntry(sectors: number): Uint8Array {
  const entry = new DataView(new ArrayBuffer(16));
  new Uint8Array(entry.buffer).set([PARTITION_ACTIVE, ...CHS_BEYOND, PARTITION_TYPE_LINUX, ...CHS_BEYOND]);
  entry.setUint32(8, PARTITION_START, true);
  entry.setUint32(12, sectors, true);
  return new Uint8Array(entry.buffer);
}
