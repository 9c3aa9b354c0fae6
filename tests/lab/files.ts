/**
 * Files of this host.
 *
 * @module
 */
import { join } from "@std/path";

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

/** Makes or replaces a file such that others find the old one or the new one, whole. */
export async function replaceFile(path: string, content: Uint8Array): Promise<void> {
  const partial = `${path}.partial`;
  await Deno.writeFile(partial, content);
  await Deno.rename(partial, path);
}
