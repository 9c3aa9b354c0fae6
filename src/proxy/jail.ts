/**
 * The jail of a device process: what it is shut into before its first instruction, as far as this host lets a parent do that.
 *
 * The walls do not depend on each other. A host may forbid some (namespaces to those who are not root, Landlock in an old kernel), and
 * whoever asks for a jail learns which. The last one, the filter that leaves a device process few system calls, the process puts up by
 * itself once it has all open that it needs (`-sandbox on`).
 *
 * @module
 */
import { SyscallError } from "../ffi/errno.ts";
import { closeFd, duplicateFd, openFile, OpenFlags } from "../ffi/file.ts";
import { call, runScript, type ScriptStep, startScript, unblockSignals } from "../ffi/jail/child_script.ts";
import { startFilter } from "../ffi/jail/device_calls.ts";
import { FileAccess, landlockVersion, restrictFiles } from "../ffi/jail/landlock.ts";
import { ignoreLongFiles, limitResources, type Limits } from "../ffi/jail/limits.ts";
import { emptyRoot, hideHostName, mapIdentity, Namespace, replaceRoot } from "../ffi/jail/namespaces.ts";
import {
  assumeIdentity,
  currentIdentity,
  denyNewPrivileges,
  dieWithParent,
  dropCapabilities,
  emptyBoundingSet,
  type Identity,
  keepingDumpable,
} from "../ffi/jail/privileges.ts";
import { labelProgram, type SecurityModule, securityModule } from "../ffi/jail/security_context.ts";
import { type Filter, installFilter } from "../ffi/jail/seccomp.ts";
import { cString } from "../ffi/syscall.ts";
import type { ChildProcess } from "../ffi/process.ts";
import { type ProgramFiles, programFiles } from "./program_files.ts";

/** What is to be jailed. */
export interface JailOptions {
  /** Path of a program, and its arguments. */
  readonly command: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Number there → descriptor here, or `null` for /dev/null. 0, 1 and 2 are inherited if they are not named; others are closed. */
  readonly descriptors: ReadonlyMap<number, number | null>;
  /** Absolute paths of what the program may read besides itself and its libraries. @default {nothing} */
  readonly readable?: readonly string[];
  /** Whether it gets a process group of its own, so that signals from the terminal's keys pass it by. @default {false} */
  readonly ownGroup?: boolean;
  /** Bytes that a file may have which it makes longer. @default {any number} */
  readonly largestFile?: number;
  /** The context or profile that it is to run under, where the host has SELinux or AppArmor. @default {as the policy has it} */
  readonly securityContext?: string;
  /** Who it is to be, where this process is root's. */
  readonly identity: Identity;
  /** The system calls that it may make. @default {those of a device process that starts} */
  readonly filter?: Filter;
  /** What to try, one after the other. @default {everything that there is, from the best on} */
  readonly isolations?: readonly Isolation[];
  /** @default {a child of this process} */
  readonly sibling?: SiblingOptions;
}

/** A process that is to be a child of whoever started this one. */
export interface SiblingOptions {
  /** Takes one that has failed before its program began: only its parent can wait for it. */
  bury(corpse: ChildProcess): void;
}

/** Ids from here on belong to no account: they are above what distributions and directories give away, and below 2 ** 31. */
const FIRST_ID = 0x7000_0000;
/** The kernel's numbers of processes have 22 bits at most (linux/threads.h, PID_MAX_LIMIT). */
const PID_BITS = 22;
const IDS_OF_A_PROCESS = 2 ** 6;

let identities = 0;

/** An identity that no other process on this host has, unless this one asks for more than 64. */
export function freshIdentity(): Identity {
  const id = FIRST_ID + (Deno.pid % 2 ** PID_BITS) * IDS_OF_A_PROCESS + identities++ % IDS_OF_A_PROCESS;
  return { uid: id, gid: id };
}

/** A wall that could not be put up; messages say what a process is jailed without. */
export interface MissingWall {
  readonly wall: "namespaces" | "a pid namespace" | "an identity of its own" | "Landlock" | "an empty root";
  readonly why: string;
}

/** A process in a jail. */
export interface JailedProcess {
  readonly process: ChildProcess;
  readonly missing: readonly MissingWall[];
  /**
   * Takes from the process's root what it started from, so that nothing is left there: for when it has all open that it needs. Does
   * nothing where it has no root of its own.
   *
   * @returns what is in the way. Landlock and the filters stand all the same.
   */
  emptyRoot(): MissingWall | undefined;
}

/** How much of its own a process gets: everything, all but the host's process ids and /proc, or nothing. */
export type Isolation = "full" | "host pids" | "none";

/** From the best on. */
const ISOLATIONS: readonly Isolation[] = ["full", "host pids", "none"];

const SHARED_NAMESPACES = Namespace.MOUNT + Namespace.NETWORK + Namespace.IPC + Namespace.UTS + Namespace.CGROUP;

/** Core dumps hold guest memory. A device process has a dozen threads, and some more for its disks. */
const LIMITS: Limits = { CORE: 0, DESCRIPTORS: 1024, MESSAGE_QUEUES: 0 };
const MOST_TASKS = 64;

const CLOSE_RANGE_CLOEXEC = 4;

/** umask(2): files that are made get no permissions for group and others. */
const PRIVATE = 0o077;

const READ_AND_EXECUTE = FileAccess.EXECUTE | FileAccess.READ_FILE | FileAccess.READ_DIRECTORY;

/** Whether this process is root's. */
function isRoot(): boolean {
  return currentIdentity().uid === 0;
}

/** Gives the child its descriptors, and closes all others when it executes its program. */
export function placeDescriptors(spares: ReadonlyMap<number, number>): ScriptStep[] {
  const borders = [2, ...[...spares.keys()].filter((number) => number > 2).sort((a, b) => a - b), 2 ** 32];
  const gaps = borders.slice(1).map((next, i): [number, number] => [borders[i] + 1, next - 1]);
  return [
    ...[...spares].map(([number, spare]) => call("dup3", [spare, number, 0])),
    ...gaps.filter(([first, last]) => first <= last)
      .map(([first, last]) => call("close_range", [first, last, CLOSE_RANGE_CLOEXEC])),
  ];
}

function enterNamespaces(isolation: Isolation, files: ProgramFiles): ScriptStep[] {
  if (isolation === "none") return [];
  const self = currentIdentity();
  const proc = { source: "/proc", target: "/proc", isDirectory: true };
  return [
    ...isRoot() ? [] : mapIdentity(self, self),
    hideHostName("splitvm"),
    isolation === "full"
      ? replaceRoot(files.entries, { proc: true, links: files.links })
      : replaceRoot([...files.entries, proc], { links: files.links }),
  ].flat();
}

function restrictPaths(isolation: Isolation, files: ProgramFiles, landlock: number): ScriptStep[] {
  if (landlock === 0) return [];
  const allowed = isolation === "none"
    ? [...files.entries.map(({ source, isDirectory }) => ({ path: source, isDirectory })), {
      path: "/proc",
      isDirectory: true,
    }]
    : [{ path: "/", isDirectory: true }];
  return restrictFiles(landlock, allowed.map((place) => ({ ...place, access: READ_AND_EXECUTE })));
}

function limits(isolation: Isolation, largestFile: number | undefined): ScriptStep[] {
  // Without a user of its own, those of all other processes of the same user would count.
  const tasks = isRoot() || isolation !== "none" ? { PROCESSES: MOST_TASKS } : {};
  if (largestFile === undefined) return limitResources({ ...LIMITS, ...tasks });
  // A write beyond is an error then, and no reason to end: a log may have got so long.
  return [ignoreLongFiles(), ...limitResources({ ...LIMITS, ...tasks, FILE_SIZE: largestFile })];
}

function execute({ command, env }: JailOptions, program: string): ScriptStep {
  const variables = Object.entries(env).map(([name, value]) => cString(`${name}=${value}`));
  return call("execve", [cString(program), command.map(cString), variables], { of: program });
}

/** The module that is to take a context. @throws {Error} where there is none: who asks for it does not want to do without. */
function moduleFor(context: string): SecurityModule {
  const module = securityModule();
  if (module !== undefined) return module;
  throw new Error(`secontext=${context}: this host has neither SELinux nor AppArmor on`);
}

/** One way to shut a process in. */
interface Attempt {
  readonly isolation: Isolation;
  /** `undefined`: it stays who this process is. */
  readonly identity: Identity | undefined;
  /** Number there → duplicate here. */
  readonly spares: ReadonlyMap<number, number>;
  readonly label: { readonly module: SecurityModule; readonly context: string } | undefined;
}

/** Everything between a child's birth and its program. */
function jailScript(options: JailOptions, { isolation, identity, spares, label }: Attempt): ScriptStep[] {
  const files = programFiles(options.command[0], options.readable);
  const program = isolation === "none" ? options.command[0] : files.program;
  return [
    // First of all, since it takes a while to put the walls up, and again where nothing undoes it any more.
    dieWithParent(),
    ...options.ownGroup ? [call("setpgid", [0, 0])] : [],
    ...placeDescriptors(spares),
    ...label === undefined ? [] : labelProgram(label.module, label.context),
    ...enterNamespaces(isolation, files),
    // The same for every jail, whatever this process's is: what is made in one, if anything ever is, is for nobody else.
    call("umask", [PRIVATE]),
    ...limits(isolation, options.largestFile),
    ...emptyBoundingSet(),
    ...identity === undefined ? [] : assumeIdentity(identity),
    ...dropCapabilities(),
    dieWithParent(),
    denyNewPrivileges(),
    ...restrictPaths(isolation, files, landlockVersion()),
    unblockSignals(),
    installFilter(options.filter ?? startFilter()),
    execute(options, program),
  ];
}

function namespacesOf(isolation: Isolation): number {
  if (isolation === "none") return 0;
  const user = isRoot() ? 0 : Namespace.USER;
  return SHARED_NAMESPACES + user + (isolation === "full" ? Namespace.PID : 0);
}

/** Starts a script that ends with a program. @throws {SyscallError} naming the call that failed; there is no child then. */
export function startProgram(
  script: readonly ScriptStep[],
  { namespaces, sibling }: { namespaces?: number; sibling?: SiblingOptions },
): ChildProcess {
  const { process, failed } = startScript(script, { namespaces, sibling: sibling !== undefined });
  if (failed === undefined) return process;
  if (sibling !== undefined) {
    sibling.bury(process);
  } else {
    process.wait();
    process.close();
  }
  throw failed;
}

/** @throws {SyscallError} naming the call that failed; there is no child then. */
function attempt(options: JailOptions, way: Attempt): ChildProcess {
  const script = jailScript(options, way);
  const namespaces = namespacesOf(way.isolation);
  return keepingDumpable(() => startProgram(script, { namespaces, sibling: options.sibling }));
}

/** Duplicates of what the child gets, out of the way of the numbers that it gets them under. */
export function spareDescriptors(descriptors: JailOptions["descriptors"]): Map<number, number> {
  const spares = new Map<number, number>();
  const above = Math.max(2, ...descriptors.keys()) + 1;
  try {
    for (const [number, fd] of descriptors) {
      const source = fd ?? openFile("/dev/null", OpenFlags.O_RDWR);
      try {
        spares.set(number, duplicateFd(source, above));
      } finally {
        if (fd === null) closeFd(source);
      }
    }
    return spares;
  } catch (error) {
    for (const spare of spares.values()) closeFd(spare);
    throw error;
  }
}

/** Root of a container has few ids to give away, or none. */
function isOfIdentity(error: SyscallError): boolean {
  return /^set(groups|resgid|resuid)\b/.test(error.call);
}

/** What a process lacks that was shut in after these failures. */
function missingWalls(isolation: Isolation, failures: readonly SyscallError[]): MissingWall[] {
  const missing: MissingWall[] = [];
  const why = failures.findLast((error) => !isOfIdentity(error))?.message ?? "it was not asked for";
  if (isolation === "host pids") missing.push({ wall: "a pid namespace", why });
  if (isolation === "none") missing.push({ wall: "namespaces", why });
  // Somebody else's process cannot have one. In namespaces of its own it meets nothing that belongs to this one.
  const others = isolation === "full" ? undefined : "only root can give it one";
  const identity = isRoot() ? failures.find(isOfIdentity)?.message : others;
  if (identity !== undefined) missing.push({ wall: "an identity of its own", why: identity });
  if (landlockVersion() === 0) missing.push({ wall: "Landlock", why: "this kernel has none, or has it switched off" });
  return missing;
}

/** Tries one way after the other. @throws {SyscallError} what the last failed of. */
function attemptAll(
  options: JailOptions,
  spares: Attempt["spares"],
): Pick<JailedProcess, "process" | "missing"> & Attempt {
  const { securityContext: context } = options;
  const label = context === undefined ? undefined : { module: moduleFor(context), context };
  const failures: SyscallError[] = [];
  let identity = isRoot() ? options.identity : undefined;
  const isolations = [...options.isolations ?? ISOLATIONS];
  while (isolations.length > 0) {
    const way = { isolation: isolations[0], identity, spares, label };
    try {
      const process = attempt(options, way);
      return { ...way, process, missing: missingWalls(way.isolation, failures) };
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      failures.push(error);
      if (identity !== undefined && isOfIdentity(error)) identity = undefined;
      else isolations.shift();
    }
  }
  throw failures.at(-1) ?? new RangeError("No way to isolate a process is to be tried");
}

/**
 * Starts a program in a jail, behind as many walls as this host has. It is killed when the calling thread ends.
 *
 * @throws {SyscallError} when it cannot be started even behind fewer walls, or the host's policy does not take its context.
 * @throws {Error} when it is to have a context, and the host has no module for it.
 */
export function spawnJailed(options: JailOptions): JailedProcess {
  const spares = spareDescriptors(options.descriptors);
  try {
    const { process, missing, isolation } = attemptAll(options, spares);
    return { process, missing, emptyRoot: () => isolation === "none" ? undefined : clearRoot(process, options) };
  } finally {
    for (const spare of spares.values()) closeFd(spare);
  }
}

function clearRoot(process: ChildProcess, { command, readable }: JailOptions): MissingWall | undefined {
  const { entries } = programFiles(command[0], readable);
  const targets = [...entries.map(({ target }) => target), "/proc"];
  try {
    runScript(emptyRoot(process, targets, !isRoot()));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return { wall: "an empty root", why: error.message };
  }
}
