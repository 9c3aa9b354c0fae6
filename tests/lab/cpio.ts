/**
 * Writes cpio archives in the "newc" format, which Linux unpacks as its initial RAM file system.
 *
 * Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.
 *
 * @module
 */

/** A file of an archive. */
export interface CpioEntry {
  /** Path without a leading slash. Its folders come first in the list. */
  readonly path: string;
  /** File type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [number, number];
}

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
/** Header, name and content each end at a multiple of this many bytes. */
const ALIGNMENT = 4;

/** Permissions and file types, from `<linux/stat.h>`. */
export const Mode = {
  FOLDER: 0o040755,
  FILE: 0o100644,
  PROGRAM: 0o100755,
  LINK: 0o120777,
  CHARACTER_DEVICE: 0o020600,
} as const;

/** Packs files into an archive. */
export function packCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const parts = entries.flatMap((entry, index) => encode(entry, index + 1));
  parts.push(...encode({ path: TRAILER, mode: 0 }, 0));
  const archive = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

function encode({ path, mode, content = new Uint8Array(), device = [0, 0] }: CpioEntry, inode: number): Uint8Array[] {
  const name = new TextEncoder().encode(`${path}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length, 0];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  return [padded(new TextEncoder().encode(header), name), padded(content)];
}

function padded(...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(Math.ceil(length / ALIGNMENT) * ALIGNMENT);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
