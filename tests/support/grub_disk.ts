/**
 * Disks that GRUB for PC firmware (`i386-pc`) boots from, made of what Debian's packages bring.
 *
 * @module
 */
import { dirname } from "@std/path";
import { layOutBootTrack, SECTOR_SIZE } from "./grub_boot_track.ts";
import { runTool } from "./tool.ts";
import { file, program, type Requirement } from "./requirements.ts";

/** Path from the root of the file system → contents. */
export type Files = Readonly<Record<string, string>>;

const PLATFORM = "/usr/lib/grub/i386-pc";

/** Where GRUB looks for its configuration, from the root of its file system. */
const GRUB_FOLDER = "boot/grub";

/** What the image of {@linkcode makeExt4Disk} can do: the commands of the tests, and the way to their files. */
const MODULES = ["biosdisk", "part_msdos", "ext2", "normal", "serial", "terminal", "terminfo", "echo", "cat", "halt"];

/** Size of the partition. */
const PARTITION_SECTORS = 32768;

const GRUB = file(`${PLATFORM}/boot.img`, "grub-pc-bin");

/** What {@linkcode makeExt4Disk} needs. */
export const EXT4_DISK_NEEDS: readonly Requirement[] = [
  GRUB,
  program("grub-mkimage", "grub-common"),
  program("mkfs.ext4", "e2fsprogs"),
];

/** What {@linkcode makeIsoDisk} needs. */
export const ISO_DISK_NEEDS: readonly Requirement[] = [
  GRUB,
  program("grub-mkrescue", "grub-common"),
  program("xorriso", "xorriso"),
  program("mformat", "mtools"),
];

/**
 * Makes a disk as `grub-install` leaves it: GRUB's boot sector in the MBR, its core image behind it, and an ext4 file system in the
 * only partition.
 *
 * @param folder An empty folder to work in.
 * @param files What the file system contains; `boot/grub/grub.cfg` is GRUB's configuration.
 * @returns the image's path.
 */
export function makeExt4Disk(folder: string, files: Files): string {
  writeFiles(`${folder}/root`, files);
  const [core, partition, disk] = ["core.img", "partition.img", "disk.img"].map((name) => `${folder}/${name}`);
  runTool("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", `(hd0,msdos1)/${GRUB_FOLDER}`, ...MODULES);
  runTool("mkfs.ext4", "-q", "-d", `${folder}/root`, partition, `${PARTITION_SECTORS * SECTOR_SIZE / 1024}k`);

  const track = layOutBootTrack({
    bootSector: Deno.readFileSync(`${PLATFORM}/boot.img`),
    core: Deno.readFileSync(core),
    partitionSectors: PARTITION_SECTORS,
  });
  Deno.writeFileSync(disk, track);
  Deno.writeFileSync(disk, Deno.readFileSync(partition), { append: true });
  return disk;
}

/**
 * Makes a disk of what `grub-mkrescue` makes: an ISO 9660 file system that also boots as a hard disk does.
 *
 * @returns the image's path.
 */
export function makeIsoDisk(folder: string, files: Files): string {
  writeFiles(`${folder}/root`, files);
  const disk = `${folder}/disk.iso`;
  const modules = `--install-modules=${[...MODULES, "iso9660", "part_gpt", "search"].join(" ")}`;
  runTool(
    "grub-mkrescue",
    "-d",
    PLATFORM,
    modules,
    "--fonts=",
    "--locales=",
    "--themes=",
    "-o",
    disk,
    `${folder}/root`,
  );
  return disk;
}

function writeFiles(root: string, files: Files): void {
  for (const [path, text] of Object.entries(files)) {
    Deno.mkdirSync(dirname(`${root}/${path}`), { recursive: true });
    Deno.writeTextFileSync(`${root}/${path}`, text);
  }
}
