/**
 * Opening the files of images by their paths: on this host, or out of what whoever started this process has opened for it. A process in a
 * jail has nothing but the latter.
 *
 * @module
 */
import { SyscallError } from "../ffi/errno.ts";
import {
  closeFd,
  fileStatus,
  fileSystemType,
  FileType,
  openFile,
  OpenFlags,
  openForeignPath,
  statusFlags,
} from "../ffi/file.ts";

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

/**
 * File systems of the kernel's own, whose files are no storage, but ways to look into processes and to set up the host; magic numbers of
 * linux/magic.h. `/proc/self/mem`, as the data of an image, is the memory of whoever opens it.
 */
const KERNEL_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x62656570, "configfs"],
  [0x64626720, "debugfs"],
  [0x74726163, "tracefs"],
  [0x73636673, "securityfs"],
  [0xf97cff8c, "selinuxfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0xcafe4a11, "bpf"],
  [0x6165676c, "pstore"],
  [0xde5e81e4, "efivarfs"],
  [0x42494e4d, "binfmt_misc"],
  [0x6e736673, "nsfs"],
]);

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
  return takeGivenFile(path, flags & ACCESS) ??
    explained(verb, path, () => openStorage(() => openFile(path, flags | ALWAYS, mode)));
}

/**
 * Opens the file that an image names, whose maker need not be whoever runs this process: never what only this process has open, and
 * nothing that is neither a file nor a block device, since opening others may have effects.
 *
 * @param access O_RDONLY or O_RDWR.
 * @throws {Error} as {@linkcode openPath}.
 */
export function openNamedPath(path: string, access: number): number {
  return takeGivenFile(path, access) ??
    explained("open", path, () => {
      closeFd(openPlain(() => openForeignPath(path, OpenFlags.O_PATH)));
      return openPlain(() => openForeignPath(path, access | ALWAYS));
    });
}

/** What kinds of file hold no images. */
const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [FileType.DIRECTORY, "a directory"],
  [FileType.CHARACTER_DEVICE, "a character device"],
  [FileType.FIFO, "a FIFO"],
  [FileType.SOCKET, "a socket"],
]);

/** Why a file of a type holds no image; `undefined` if it may. @param type One of {@linkcode FileType}. */
export function describeOtherType(type: number): string | undefined {
  if (type === FileType.REGULAR || type === FileType.BLOCK_DEVICE) return undefined;
  return `it is ${OTHER_TYPES.get(type) ?? "of an unknown type"}, not a regular file or block device`;
}

/** Closes what was opened if `problem` finds one. */
function openChecked(open: () => number, problem: (fd: number) => string | undefined): number {
  const fd = open();
  try {
    const found = problem(fd);
    if (found !== undefined) throw new Error(found);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function openStorage(open: () => number): number {
  return openChecked(open, (fd) => {
    const fileSystem = KERNEL_FILE_SYSTEMS.get(fileSystemType(fd));
    return fileSystem === undefined ? undefined : `images do not lie in ${fileSystem}`;
  });
}

function openPlain(open: () => number): number {
  return openChecked(() => openStorage(open), (fd) => describeOtherType(fileStatus(fd).mode & FileType.MASK));
}

function explained(verb: string, path: string, open: () => number): number {
  try {
    return open();
  } catch (error) {
    const code = error instanceof SyscallError ? error.code : "";
    throw new Error(`Cannot ${verb} ${path}: ${OPEN_ERRORS[code] ?? (error as Error).message}`, { cause: error });
  }
}

/** Opens a new file without a name, which is gone when it is closed. */
export function openTemporary(): number {
  return openPath("make a temporary file in", TEMPORARY_FOLDER, OpenFlags.O_RDWR | O_TMPFILE);
}
