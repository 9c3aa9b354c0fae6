/**
 * The image files that a machine was started with, by which it is told whether a device process that is started anew would serve the same.
 *
 * Paths do not tell: a file may have been moved away and replaced. A guest with a mounted file system would write its metadata to another disk
 * then.
 *
 * @module
 */
import { closeFd, fileStatus, readAt, writeAt } from "../ffi/file.ts";
import { createMemoryFile, PAGE_SIZE } from "../ffi/memory.ts";

/** What is remembered of a file. */
export interface KnownImage {
  /** Tells it from all others that there are. */
  readonly identity: string;
  /** Bytes of the disk that the guest sees in it, where it is one that can be read. */
  readonly diskSize?: number;
}

/** An open file of an image. */
export interface ImageFile extends KnownImage {
  readonly path: string;
  readonly fd: number;
}

/** What is remembered of open files. */
export function knownImages(files: readonly ImageFile[]): KnownImage[] {
  return files.map(({ identity, diskSize }) => ({ identity, diskSize }));
}

/**
 * A larger disk is none of the guest's business, who does not look.
 *
 * @throws {Error} when these are not the files that are known, or a disk has become smaller.
 */
export function requireSameImages(files: readonly ImageFile[], known: readonly KnownImage[]): void {
  for (const [i, { path, identity, diskSize }] of files.entries()) {
    if (identity !== known[i]?.identity) throw new Error(`${path} is another file than when the machine was started`);
    const before = known[i].diskSize;
    if (before === undefined || diskSize === undefined || diskSize >= before) continue;
    throw new Error(`${path} has a disk of ${diskSize} bytes, and had ${before} when the machine was started`);
  }
  // An image that named another one does so no more.
  if (files.length < known.length) {
    throw new Error(`${files.at(-1)?.path} was made of more files when the machine was started`);
  }
}

/** Leaves what is known, by device, for another process. @returns a file in memory; the caller's. */
export function writeKnownImages(byDevice: readonly (readonly KnownImage[])[]): number {
  const text = JSON.stringify(byDevice);
  const size = Math.ceil(text.length / PAGE_SIZE) * PAGE_SIZE;
  const fd = createMemoryFile("images", size);
  try {
    writeAt(fd, 0, new TextEncoder().encode(text.padEnd(size)));
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Takes what was left. */
export function readKnownImages(fd: number): readonly (readonly KnownImage[])[] {
  const bytes = new Uint8Array(fileStatus(fd).size);
  readAt(fd, 0, bytes);
  return JSON.parse(new TextDecoder().decode(bytes));
}
