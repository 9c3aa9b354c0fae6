/**
 * Opening the files of images by their paths: on this host, or out of what whoever started this process has opened for it. A process in a
 * jail has nothing but the latter.
 *
 * @module
 */
import { SyscallError } from "../ffi/errno.ts";
import { closeFd, openFile, OpenFlags, statusFlags } from "../ffi/file.ts";

/** A file that is open already, under the path that it has where it was opened. */
export interface GivenFile {
  readonly path: string;
  readonly fd: number;
}

/** What a user can make of the errors of open(2). */
const OPEN_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a directory",
  EROFS: "it is on a read-only file system (readonly=on opens it)",
  ENXIO: "there is no such device",
  ENODEV: "there is no such device",
  EBUSY: "the device is in use",
  ETXTBSY: "it is a program that is running",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
};

/** O_NONBLOCK: opening a FIFO would wait for its other end. It means nothing for files and block devices. */
const ALWAYS = OpenFlags.O_NONBLOCK | OpenFlags.O_NOCTTY;

const ACCESS = 3;

/** Where files without a name are made. */
export const TEMPORARY_FOLDER = "/var/tmp";

/** open(2): a file without a name. It is given for a directory, so the bit of O_DIRECTORY is part of it. */
const O_TMPFILE = 0o20200000;

/** Those that nobody has opened yet. Descriptors belong to the process, so the list does, too. */
const given: GivenFile[] = [];

/** From now on, opening the files' paths takes their descriptors, each once. */
export function giveFiles(files: readonly GivenFile[]): void {
  given.push(...files);
}

/** Closes the files that nobody has opened. */
export function closeGivenFiles(): void {
  for (const { fd } of given.splice(0)) closeFd(fd);
}

/** The descriptor behind a path, which stays where it is. */
export function findGivenFile(path: string): number | undefined {
  return given.find((file) => file.path === path)?.fd;
}

/** Those for reading and writing serve who only reads, but only where there is nothing better. */
function takeGivenFile(path: string, access: number): number | undefined {
  const accessOf = (file: GivenFile) => statusFlags(file.fd) & ACCESS;
  const candidates = given.filter((file) => file.path === path);
  const best = candidates.find((file) => accessOf(file) === access) ??
    (access === OpenFlags.O_RDONLY ? candidates.find((file) => accessOf(file) === OpenFlags.O_RDWR) : undefined);
  if (best !== undefined) given.splice(given.indexOf(best), 1);
  return best?.fd;
}

/**
 * Opens the file of an image.
 *
 * @param verb What is tried, for messages: `open`, `create`.
 * @param flags Access, and how the file is made: O_NONBLOCK and O_NOCTTY are always added.
 * @throws {Error} naming the file and what is in the way.
 */
export function openPath(verb: string, path: string, flags: number, mode?: number): number {
  const taken = takeGivenFile(path, flags & ACCESS);
  if (taken !== undefined) return taken;
  try {
    return openFile(path, flags | ALWAYS, mode);
  } catch (error) {
    const code = error instanceof SyscallError ? error.code : "";
    throw new Error(`Cannot ${verb} ${path}: ${OPEN_ERRORS[code] ?? (error as Error).message}`, { cause: error });
  }
}

/** Opens a new file without a name, which is gone when it is closed. */
export function openTemporary(): number {
  return openPath("make a temporary file in", TEMPORARY_FOLDER, OpenFlags.O_RDWR | O_TMPFILE);
}
