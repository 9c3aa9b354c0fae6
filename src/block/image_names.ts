/**
 * Names of images inside images: what they stand for on the host.
 *
 * @module
 */

/** What QEMU takes for the name of a protocol: whatever is in front of a colon, but not behind a slash. */
const PROTOCOL = /^([^/:]*):/s;

/** Longest name that a message repeats, in characters. */
const LONGEST_SHOWN = 100;

/** A name as messages show it: quoted, since it is anybody's, and not too long. */
export function showName(name: string): string {
  return JSON.stringify(name.length > LONGEST_SHOWN ? `${name.slice(0, LONGEST_SHOWN)}…` : name);
}

/**
 * The path that a name stands for. A name with `file:` in front counts from the working directory, as QEMU has it.
 *
 * @param folder What other names count from: a path that ends in a slash, or nothing for the working directory.
 * @throws {Error} for a name that stands for no path.
 */
export function resolveImageName(name: string, folder: string): string {
  if (name === "" || name.includes("\0")) throw new Error(`${showName(name)} is no name of a file`);
  const protocol = PROTOCOL.exec(name)?.[1];
  if (protocol === undefined) return name.startsWith("/") ? name : folder + name;
  if (protocol === "file" && name.length > 5) return name.slice(5);
  throw new Error(
    `${showName(name)} is no file on this host, and the protocol '${protocol.slice(0, 20)}' is not served`,
  );
}

/** The folder that a path lies in, with its slash; nothing for the working directory. */
export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
