/**
 * Giving up privileges for good: identity, capabilities (capabilities(7)), and the ways to get new ones.
 *
 * @module
 */
import { checked } from "../errno.ts";
import { Signal } from "../process.ts";
import { syscalls } from "../syscall.ts";
import { call, type ScriptCall } from "./child_script.ts";

/** linux/prctl.h */
const PR_SET_PDEATHSIG = 1;
const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/** linux/capability.h */
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
/** More than there are; the kernel has sets of 64. */
const CAPABILITIES = 64;

/** Who a process is. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** Who this process is. */
export function currentIdentity(): Identity {
  return { uid: syscalls().geteuid(), gid: syscalls().getegid() };
}

/** Becomes somebody else, with no supplementary groups: for root, in this or a user namespace of its own. */
export function assumeIdentity({ uid, gid }: Identity): ScriptCall[] {
  return [
    call("setgroups", [0, 0]),
    call("setresgid", [gid, gid, gid], { of: String(gid) }),
    call("setresuid", [uid, uid, uid], { of: String(uid) }),
  ];
}

/**
 * Takes the capabilities out of the bounding set, which no program regains. It needs CAP_SETPCAP, so it comes before the identity is
 * changed; without the right to it, `no_new_privs` does the same.
 */
export function emptyBoundingSet(): ScriptCall[] {
  return Array.from(
    { length: CAPABILITIES },
    (_, capability) => call("prctl", [PR_CAPBSET_DROP, capability, 0, 0, 0], { of: "PR_CAPBSET_DROP", mayFail: true }),
  );
}

/** Drops the ambient, inheritable, permitted and effective capabilities. */
export function dropCapabilities(): ScriptCall[] {
  // struct __user_cap_header_struct: u32 version, s32 pid; two of struct __user_cap_data_struct: u32 effective, permitted, inheritable.
  const header = new Uint8Array(Uint32Array.of(LINUX_CAPABILITY_VERSION_3, 0).buffer);
  return [
    call("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0], { of: "PR_CAP_AMBIENT", mayFail: true }),
    call("capset", [header, new Uint8Array(24)]),
  ];
}

/** No program that is executed from now on has more rights than its caller (Documentation/userspace-api/no_new_privs.rst). */
export function denyNewPrivileges(): ScriptCall {
  return call("prctl", [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0], { of: "PR_SET_NO_NEW_PRIVS" });
}

/** {@linkcode denyNewPrivileges} for the calling thread. */
export function denyNewPrivilegesHere(): void {
  checked("prctl(PR_SET_NO_NEW_PRIVS)", syscalls().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/** The kernel kills the process when the thread that made it ends. A change of identity undoes this, so it comes after that. */
export function dieWithParent(): ScriptCall {
  return call("prctl", [PR_SET_PDEATHSIG, Signal.KILL, 0, 0, 0], { of: "PR_SET_PDEATHSIG" });
}

/**
 * Runs `action`, in which a child that shares this process's memory changes its identity. The kernel takes that as a reason to have the
 * memory, which is this process's as well, neither dumped nor read by others of its user; it is as before afterwards.
 */
export function keepingDumpable<T>(action: () => T): T {
  const dumpable = syscalls().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  try {
    return action();
  } finally {
    // 2 cannot be set, and need not be: it is what the kernel itself chooses for such a process (sysctl fs.suid_dumpable).
    if (dumpable === 1) syscalls().prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
}
