/**
 * A disk from which PC firmware boots a kernel, by way of GRUB.
 *
 * @module
 */
import { layOutBootTrack, SECTOR_SIZE } from "../support/grub_boot_track.ts";
import { mustRun } from "./command.ts";
import { Mode, packCpio } from "./cpio.ts";

/** What GRUB is to load. */
export interface DiskKernel {
  /** Path of a bzImage. */
  readonly kernel: string;
  /** Path of an initial RAM file system. */
  readonly initrd: string;
  /** The kernel's command line. */
  readonly append: string;
}

const GRUB_PLATFORM = "/usr/lib/grub/i386-pc";
/** The partition holds a cpio archive: GRUB reads it as a file system, which no program has to make. */
const MODULES = ["biosdisk", "part_msdos", "newc", "linux", "normal"];
const ROOT = "hd0,msdos1";

/** Writes the disk's image. Beside it, GRUB's parts are left. */
export async function makeKernelDisk(path: string, { kernel, initrd, append }: DiskKernel): Promise<void> {
  const [script, core] = [`${path}.grub`, `${path}.core`];
  await Deno.writeTextFile(script, `set root=${ROOT}\nlinux /kernel ${append}\ninitrd /initrd\nboot\n`);
  await mustRun("grub-mkimage", ["-O", "i386-pc", "-o", core, "-p", `(${ROOT})/`, "-c", script, ...MODULES]);
  const archive = packCpio([
    { path: "kernel", mode: Mode.FILE, content: await Deno.readFile(kernel) },
    { path: "initrd", mode: Mode.FILE, content: await compressed(initrd) },
  ]);
  const sectors = Math.ceil(archive.length / SECTOR_SIZE);
  const track = layOutBootTrack({
    bootSector: await Deno.readFile(`${GRUB_PLATFORM}/boot.img`),
    core: await Deno.readFile(core),
    partitionSectors: sectors,
  });
  await Deno.writeFile(path, track);
  await Deno.writeFile(path, archive, { append: true });
  await Deno.truncate(path, track.length + sectors * SECTOR_SIZE);
}

/** Firmware reads slowly: each call is a command to the disk, and many accesses to the controller's registers. */
async function compressed(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = await Deno.open(path);
  return await new Response(file.readable.pipeThrough(new CompressionStream("gzip"))).bytes();
}
