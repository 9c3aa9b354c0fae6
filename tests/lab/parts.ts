/**
 * What the lab and its guests are made of: Debian's kernels and programs, in `dist/lab`.
 *
 * @module
 */
import { fromFileUrl, join } from "@std/path";
import { replaceFile } from "./files.ts";
import { buildInitramfs } from "./initramfs.ts";
import { type Kernel, resolveModules, unpackKernel } from "./kernel.ts";
import { unpackPackage } from "./packages.ts";

/** All that is kept between runs. */
export const CACHE = fromFileUrl(new URL("../../dist/lab", import.meta.url));
const PACKAGES = join(CACHE, "packages");

/** Modules of the lab's own kernel: 9p over virtio for files, overlayfs over them, and KVM. */
const LAB_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay", "kvm_amd"];

/** What {@linkcode prepareParts} leaves on the host. Each is a path. */
export interface LabParts {
  /** Debian's kernel for real machines. The lab runs it too. */
  readonly generic: Kernel;
  /** Debian's kernel for virtual machines; it has no driver for the LSI controller. */
  readonly cloud: Kernel;
  /** A statically linked busybox. */
  readonly busybox: string;
  /** The lab's own. */
  readonly initramfs: string;
}

/** Unpacks Debian's packages and builds the lab's initramfs; nearly nothing is left to do the second time. */
export async function prepareParts(): Promise<LabParts> {
  using _lock = await lockCache();
  const generic = await unpackKernel("linux-image-amd64", PACKAGES);
  const cloud = await unpackKernel("linux-image-cloud-amd64", PACKAGES);
  const busybox = join(await unpackPackage("busybox-static", PACKAGES), "bin/busybox");
  const initramfs = join(CACHE, "lab.cpio");
  const init = await Deno.readTextFile(new URL("lab_init.sh", import.meta.url));
  const modules = await resolveModules(generic, LAB_MODULES);
  await replaceFile(initramfs, await buildInitramfs({ busybox, modules, init }));
  return { generic, cloud, busybox, initramfs };
}

/** A file of one of Debian's packages, for a guest that needs what this host may lack. @param path Without a leading slash. */
export async function packageFile(name: string, path: string): Promise<string> {
  using _lock = await lockCache();
  return join(await unpackPackage(name, PACKAGES), path);
}

/** Test files that run at the same time need the same parts: one builds them, the others wait. */
async function lockCache(): Promise<Deno.FsFile> {
  await Deno.mkdir(PACKAGES, { recursive: true });
  const file = await Deno.open(join(CACHE, "lock"), { write: true, create: true });
  await file.lock(true);
  return file;
}
