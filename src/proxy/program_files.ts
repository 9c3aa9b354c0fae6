/**
 * What a dynamically linked program has to find in the file system to start: itself, its interpreter, and libraries.
 *
 * @module
 */
import { closeFd, fileStatus, FileType, openFile, OpenFlags, readLink, readTextFile } from "../ffi/file.ts";
import type { RootEntry, RootLink } from "../ffi/jail/namespaces.ts";

/** The contents of a root directory. */
export interface ProgramFiles {
  /** Where the program is in it. */
  readonly program: string;
  readonly entries: readonly RootEntry[];
  readonly links: readonly RootLink[];
}

/** Where programs name their interpreter (System V ABI, AMD64 supplement, "Program Interpreter"), and where distributions link it to. */
const LIBRARY_FOLDERS = ["/lib64", "/lib"];

/** What libraries, V8 and Deno open besides, where it is there. */
const MISCELLANEOUS = ["/etc/ld.so.cache", "/dev/urandom"];

/** The folders of the libraries that this process runs code from. Any other splitvm on this host needs the same. */
function foldersInUse(): Set<string> {
  const folders = new Set<string>();
  for (const line of readTextFile("/proc/self/maps").split("\n")) {
    const path = /^[0-9a-f-]+ ..x. \S+ \S+ \d+ +(\/.*\.so(?:\..*)?)$/.exec(line)?.[1];
    if (path !== undefined && !path.startsWith("/memfd:")) folders.add(path.slice(0, path.lastIndexOf("/")));
  }
  return folders;
}

/** @returns `undefined` where nothing is. */
function typeOf(path: string): "file" | "folder" | undefined {
  try {
    const fd = openFile(path, OpenFlags.O_PATH);
    try {
      return (fileStatus(fd).mode & FileType.MASK) === FileType.DIRECTORY ? "folder" : "file";
    } finally {
      closeFd(fd);
    }
  } catch {
    return undefined;
  }
}

/** @returns what a symbolic link says; `undefined` for anything else. */
function linkAt(path: string): string | undefined {
  try {
    return readLink(path);
  } catch {
    return undefined;
  }
}

/** Leaves out what is below something else. */
function outermost(entries: readonly RootEntry[]): RootEntry[] {
  const isBelow = (entry: RootEntry, other: RootEntry) => entry.target.startsWith(`${other.target}/`);
  const unique = entries.filter((entry, i) => entries.findIndex(({ target }) => target === entry.target) === i);
  return unique.filter((entry) => !unique.some((other) => isBelow(entry, other)));
}

/**
 * The smallest root directory in which a program starts.
 *
 * @param program Path of an executable; it needs no libraries in other folders than this process does.
 * @param readable Absolute paths of what else it may read.
 */
export function programFiles(program: string, readable: readonly string[] = []): ProgramFiles {
  const name = `/${program.slice(program.lastIndexOf("/") + 1)}`;
  const folders = foldersInUse();
  const links: RootLink[] = [];
  for (const target of LIBRARY_FOLDERS) {
    const to = linkAt(target);
    if (to !== undefined) links.push({ target, to });
    // The interpreter is a link itself, out of a folder that nothing else may be in use from.
    if (target === LIBRARY_FOLDERS[0]) folders.add(to === undefined ? target : `/${to.replace(/^\//, "")}`);
  }
  const entries = [...folders, ...MISCELLANEOUS, ...readable].flatMap((path): RootEntry[] => {
    const type = typeOf(path);
    return type === undefined ? [] : [{ source: path, target: path, isDirectory: type === "folder" }];
  });
  return {
    program: name,
    entries: [{ source: program, target: name, isDirectory: false }, ...outermost(entries)],
    links,
  };
}
