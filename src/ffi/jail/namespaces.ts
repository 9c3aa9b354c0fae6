/**
 * Namespaces (namespaces(7)): a view of the system that has nothing in it but what was put there.
 *
 * @module
 */
import { cString } from "../syscall.ts";
import { call, type ScriptCall, type ScriptStep } from "./child_script.ts";

/** Those that a child can get of its own (linux/sched.h, CLONE_NEW*). */
export const Namespace = {
  MOUNT: 0x0002_0000,
  CGROUP: 0x0200_0000,
  UTS: 0x0400_0000,
  IPC: 0x0800_0000,
  USER: 0x1000_0000,
  PID: 0x2000_0000,
  NETWORK: 0x4000_0000,
} as const;

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;

/** asm-generic/fcntl.h */
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;

/** linux/mount.h */
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REC = 0x4000;
const MS_PRIVATE = 0x40000;
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_RDONLY = 1n;
const MOUNT_ATTR_NOSUID = 2n;
const MNT_DETACH = 2;

/** Where the new root is made. What is there cannot be seen meanwhile; it is looked up before. */
const BASE = "/tmp";

/** A file or directory that the new root has, under the same path or another. */
export interface RootEntry {
  /** Where it is now. */
  readonly source: string;
  /** Where it is to be: absolute, with no `.` or `..`. */
  readonly target: string;
  readonly isDirectory: boolean;
}

/** A symbolic link that the new root has. */
export interface RootLink {
  readonly target: string;
  /** What it says. */
  readonly to: string;
}

/** Opens something for nothing but to refer to it. */
export function openPathCall(path: string, mayFail = false): ScriptCall {
  return call("openat", [AT_FDCWD, cString(path), O_PATH | O_CLOEXEC, 0], { of: path, mayFail });
}

/** Writes text to a file of /proc. */
export function writeFile(path: string, text: string, mayFail = false): ScriptStep[] {
  const bytes = new TextEncoder().encode(text);
  const file = call("openat", [AT_FDCWD, cString(path), O_WRONLY | O_CLOEXEC, 0], { of: path, mayFail });
  return [
    file,
    call("write", [{ resultOf: file }, bytes, bytes.length], { of: path, mayFail }),
    call("close", [{ resultOf: file }], { mayFail }),
  ];
}

/** In a new user namespace: has one user and one group in it, which stand for the caller's outside (user_namespaces(7)). */
export function mapIdentity(inside: { uid: number; gid: number }, outside: { uid: number; gid: number }): ScriptStep[] {
  return [
    ...writeFile("/proc/self/setgroups", "deny"),
    ...writeFile("/proc/self/uid_map", `${inside.uid} ${outside.uid} 1\n`),
    ...writeFile("/proc/self/gid_map", `${inside.gid} ${outside.gid} 1\n`),
  ];
}

/** In a new UTS namespace: a name that says nothing of the host. */
export function hideHostName(name: string): ScriptCall {
  return call("sethostname", [new TextEncoder().encode(name), name.length]);
}

/** struct mount_attr: u64 attr_set @0, attr_clr @8, propagation @16, userns_fd @24. */
function attributes(set: bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.of(set, 0n, 0n, 0n).buffer);
}

/** The directories above the entries, outermost first. */
function foldersOf(entries: readonly RootEntry[], more: readonly string[]): string[] {
  const folders = new Set(more);
  for (const { target, isDirectory } of entries) {
    const names = target.split("/").slice(1);
    const last = isDirectory ? names.length : names.length - 1;
    for (let depth = 1; depth <= last; depth++) folders.add("/" + names.slice(0, depth).join("/"));
  }
  return [...folders].sort((a, b) => a.length - b.length);
}

/** A mount of its own of an entry, for reading only: kept by descriptor until its place is there. */
function takeMount({ source }: RootEntry): [tree: ScriptCall, ...rest: ScriptStep[]] {
  const flags = OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC;
  const tree = call("open_tree", [AT_FDCWD, cString(source), flags], { of: source });
  const readOnly = attributes(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
  const set = call(
    "mount_setattr",
    [{ resultOf: tree }, cString(""), AT_EMPTY_PATH | AT_RECURSIVE, readOnly, readOnly.length],
    { of: source },
  );
  return [tree, set];
}

/** Puts a mount where it belongs. */
function placeMount({ target, isDirectory }: RootEntry, tree: ScriptCall): ScriptStep[] {
  const path = cString(BASE + target);
  const file = call("openat", [AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o444], { of: target });
  const place: ScriptStep[] = isDirectory ? [] : [file, call("close", [{ resultOf: file }])];
  return [
    ...place,
    call("move_mount", [{ resultOf: tree }, cString(""), AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH], { of: target }),
    call("close", [{ resultOf: tree }]),
  ];
}

/** What a new root has besides its entries. */
export interface RootOptions {
  /** Whether it has a /proc of the process's own pid namespace. @default {false} */
  readonly proc?: boolean;
  /** @default {none} */
  readonly links?: readonly RootLink[];
}

/**
 * In a new mount namespace: a root that has nothing but the entries, all of them for reading only. Linux 5.12 has what it needs. The
 * child's umask is 0 after that.
 */
export function replaceRoot(
  entries: readonly RootEntry[],
  { proc = false, links = [] }: RootOptions = {},
): ScriptStep[] {
  const mounts = entries.map((entry) => ({ entry, steps: takeMount(entry) }));
  const tmpfs = cString("tmpfs");
  const flags = MS_NOSUID | MS_NODEV;
  const readOnly = attributes(MOUNT_ATTR_RDONLY);
  const procfs = call(
    "mount",
    [
      cString("proc"),
      cString(`${BASE}/proc`),
      cString("proc"),
      flags | MS_NOEXEC,
      cString("hidepid=ptraceable,subset=pid"),
    ],
    { of: "/proc" },
  );
  const dot = cString(".");
  return [
    // Whoever comes to be in this root, under whatever id, walks its directories: their modes are those that are asked for.
    call("umask", [0]),
    call("mount", [0, cString("/"), 0, MS_REC | MS_PRIVATE, 0], { of: "MS_PRIVATE" }),
    ...mounts.flatMap(({ steps }) => steps),
    call("mount", [tmpfs, cString(BASE), tmpfs, flags, cString("mode=755,size=64k,nr_inodes=64")], { of: "tmpfs" }),
    ...foldersOf(entries, proc ? ["/proc"] : []).map((folder) =>
      call("mkdirat", [AT_FDCWD, cString(BASE + folder), 0o755], { of: folder })
    ),
    ...links.map(({ target, to }) =>
      call("symlinkat", [cString(to), AT_FDCWD, cString(BASE + target)], { of: target })
    ),
    ...mounts.flatMap(({ entry, steps: [tree] }) => placeMount(entry, tree)),
    ...proc ? [procfs] : [],
    call("chdir", [cString(BASE)]),
    // The old root comes to lie on the new one, where it is taken away (pivot_root(2), "pivot_root(".", ".")").
    call("pivot_root", [dot, dot]),
    call("umount2", [dot, MNT_DETACH]),
    call("chdir", [cString("/")]),
    call("mount_setattr", [AT_FDCWD, cString("/"), 0, readOnly, readOnly.length], { of: "/" }),
  ];
}

/**
 * In the namespaces of another process: takes what is mounted away from the root that {@linkcode replaceRoot} made, whoever uses it. What is
 * open or mapped stays so.
 *
 * Its root is entered by itself: that of its mount namespace is another directory where this process was in a chroot when it made it.
 *
 * @param process The process, and a pidfd of it.
 * @param user Whether it has a user namespace of its own, too.
 */
export function emptyRoot(
  { pid, pidfd }: { readonly pid: number; readonly pidfd: number },
  targets: readonly string[],
  user: boolean,
): ScriptStep[] {
  const root = openPathCall(`/proc/${pid}/root`);
  return [
    root,
    call("setns", [pidfd, Namespace.MOUNT | (user ? Namespace.USER : 0)], { of: "mount namespace" }),
    call("fchdir", [{ resultOf: root }]),
    call("chroot", [cString(".")]),
    ...targets.map((target) => call("umount2", [cString(target), MNT_DETACH], { of: target })),
  ];
}
