/**
 * Debian packages as the lab uses them: downloaded and unpacked into a folder, not installed.
 *
 * @module
 */
import { join } from "@std/path";
import { mustRun } from "./command.ts";

/**
 * Unpacks a package, unless that has been done before. A new version is fetched only after the folder has been deleted.
 *
 * @param cache Where unpacked packages are kept.
 * @returns The folder with the package's files.
 */
export async function unpackPackage(name: string, cache: string): Promise<string> {
  const folder = join(cache, name);
  if (await exists(folder)) return folder;
  const work = `${folder}.partial`;
  await Deno.remove(work, { recursive: true }).catch(() => {});
  await Deno.mkdir(work, { recursive: true });
  await mustRun("apt-get", ["download", name], work);
  const [archive] = await listFiles(work, (file) => file.endsWith(".deb"));
  if (archive === undefined) throw new Error(`apt-get downloaded no package ${name}`);
  await mustRun("dpkg", ["-x", archive, join(work, "files")]);
  await Deno.rename(join(work, "files"), folder);
  await Deno.remove(work, { recursive: true });
  return folder;
}

/** The package of the kernel that a meta-package such as `linux-image-amd64` stands for today. */
export async function kernelPackage(meta: string): Promise<string> {
  const depends = await mustRun("apt-cache", ["depends", meta]);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error(`apt-cache knows no kernel behind ${meta}: run apt-get update`);
  return name;
}

/** Whether there is a file of that name. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Files below a folder, folders left out, as full paths. */
export async function listFiles(folder: string, wanted: (path: string) => boolean): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) files.push(...await listFiles(path, wanted));
    else if (entry.isFile && wanted(path)) files.push(path);
  }
  return files;
}
