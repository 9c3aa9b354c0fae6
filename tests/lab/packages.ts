/**
 * Debian packages as the lab uses them: downloaded and unpacked into a folder, not installed.
 *
 * @module
 */
import { join } from "@std/path";
import { mustRun, run } from "./command.ts";
import { exists, listFiles } from "./files.ts";

/** Archives fail now and then: seconds to wait before each further attempt. */
const PAUSES = [5, 15, 30];

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
  await download(name, work);
  const [archive] = await listFiles(work, (file) => file.endsWith(".deb"));
  if (archive === undefined) throw new Error(`apt-get downloaded no package ${name}`);
  await mustRun("dpkg", ["-x", archive, join(work, "files")]);
  await Deno.rename(join(work, "files"), folder);
  await Deno.remove(work, { recursive: true });
  return folder;
}

/** Lists of packages that are out of date name files that are gone, so each further attempt is made with new ones. */
async function download(name: string, folder: string): Promise<void> {
  const attempt = () => mustRun("apt-get", ["download", name], folder);
  for (const pause of PAUSES) {
    try {
      await attempt();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
      await updateLists();
    }
  }
  await attempt();
}

/** The package of the kernel that a meta-package such as `linux-image-amd64` stands for today. */
export async function kernelPackage(meta: string): Promise<string> {
  const find = async () => /Depends: (linux-image-\S+)/.exec(await mustRun("apt-cache", ["depends", meta]))?.[1];
  let name = await find().catch(() => undefined);
  if (name === undefined) {
    await updateLists();
    name = await find();
  }
  if (name === undefined) throw new Error(`apt-cache knows no kernel behind ${meta}: run apt-get update as root`);
  return name;
}

/** Only root can; what others lack, the next step reports. */
async function updateLists(): Promise<void> {
  await run("apt-get", ["update", "--quiet", "--quiet"]);
}
