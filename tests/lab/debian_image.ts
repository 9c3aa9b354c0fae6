/**
 * The disk of an ordinary Debian installation: MBR, GRUB for PC firmware, and one ext4 partition with the system, all of it from
 * Debian's packages.
 *
 * Debian's installer would get there too, in half an hour. Nothing in the system knows what machine it is for: the initramfs finds out
 * which of its drivers the disk needs, and the root file system by its UUID.
 *
 * @module
 */
import { fromFileUrl, join } from "@std/path";
import { layOutBootTrack, PARTITION_START, SECTOR_SIZE } from "../support/grub_boot_track.ts";
import { mustRun } from "./command.ts";
import { exists } from "./files.ts";

/** A disk image, to be the lower layer of another one: it is not to be written to. */
export interface DebianImage {
  /** Its path; the format is raw. */
  readonly path: string;
  /** Where root's file system begins, in bytes. */
  readonly rootOffset: number;
  /** Root's password. */
  readonly password: string;
}

const SCRIPT = fromFileUrl(new URL("debian_image.sh", import.meta.url));
const GRUB_PLATFORM = "/usr/lib/grub/i386-pc";

/** GRUB's modules in its core image, as grub-install chooses them: the rest comes from the disk. */
const CORE_MODULES = ["biosdisk", "part_msdos", "ext2"];
/** `/boot/grub` on the disk that GRUB itself comes from. */
const CORE_PREFIX = "(,msdos1)/boot/grub";

/** Of the file system: GRUB's configuration and `/etc/fstab` name it. */
const UUID = "5f2c1e0a-3d4b-4c6d-8e7f-90a1b2c3d4e5";
const PASSWORD = "splitvm";
const ROOT_OFFSET = PARTITION_START * SECTOR_SIZE;
/** Size of the partition: about twice what is in it. */
const PARTITION_SECTORS = 3 * 2 ** 20;
const PARTITION_KIB = PARTITION_SECTORS * SECTOR_SIZE / 1024;

/**
 * Builds the image, unless it has been built in the same way before. Newer packages are fetched only after it has been deleted.
 *
 * @param cache Where the image is kept, as `debian.img`, with the script that made its file system beside it.
 */
export async function prepareDebianImage(cache: string): Promise<DebianImage> {
  const path = join(cache, "debian.img");
  const made = `${path}.sh`;
  const script = await Deno.readTextFile(SCRIPT);
  if (!await exists(path) || !await exists(made) || await Deno.readTextFile(made) !== script) {
    const partial = `${path}.partial`;
    await writeBootTrack(partial);
    await mustRun(SCRIPT, [UUID, PASSWORD, `${ROOT_OFFSET}`, `${PARTITION_KIB}`, partial]);
    await Deno.rename(partial, path);
    await Deno.writeTextFile(made, script);
  }
  return { path, rootOffset: ROOT_OFFSET, password: PASSWORD };
}

/** Makes the image with all but the file system. */
async function writeBootTrack(path: string): Promise<void> {
  const core = `${path}.core`;
  await mustRun("grub-mkimage", ["-O", "i386-pc", "-o", core, "-p", CORE_PREFIX, ...CORE_MODULES]);
  const track = layOutBootTrack({
    bootSector: await Deno.readFile(`${GRUB_PLATFORM}/boot.img`),
    core: await Deno.readFile(core),
    partitionSectors: PARTITION_SECTORS,
  });
  await Deno.remove(core);
  await Deno.writeFile(path, track);
  await Deno.truncate(path, ROOT_OFFSET + PARTITION_SECTORS * SECTOR_SIZE);
}
