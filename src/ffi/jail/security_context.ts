/**
 * Mandatory access control: the context or profile that a program is to run under, where the host has SELinux or AppArmor.
 *
 * A process says before execve(2) what its next program is to run under, by a file of its own below /proc (proc_pid_attr(5)). The policy
 * has the last word: it may refuse the name here, or the program's execution. It has to allow a transition under no_new_privs, too: SELinux
 * by `process2 { nnp_transition }`, AppArmor from unconfined or to a profile that is stricter.
 *
 * @module
 */
import { readTextFile } from "../file.ts";
import type { ScriptStep } from "./child_script.ts";
import { writeFile } from "./namespaces.ts";

/** What decides, beyond users and capabilities, what a process may do. */
export type SecurityModule = "SELinux" | "AppArmor";

/** Names of all that are on, separated by commas; securityfs may not be mounted (Documentation/admin-guide/LSM). */
const MODULES = "/sys/kernel/security/lsm";

/** Each by its name there, what it shows where that is not to be seen, and its attribute of processes. */
const KNOWN: Readonly<Record<SecurityModule, { name: string; sign: string; on: RegExp; attribute: string }>> = {
  SELinux: { name: "selinux", sign: "/sys/fs/selinux/enforce", on: /^[01]/, attribute: "/proc/thread-self/attr/exec" },
  // The attribute without a folder is that of whichever module came first.
  AppArmor: {
    ...{ name: "apparmor", sign: "/sys/module/apparmor/parameters/enabled", on: /^Y/ },
    attribute: "/proc/thread-self/attr/apparmor/exec",
  },
};

/** @returns `undefined` for a file that is not there, or not for this process. */
function readIfThere(path: string): string | undefined {
  try {
    return readTextFile(path);
  } catch {
    return undefined;
  }
}

/**
 * The module that this host has on; there is never more than one of the two.
 *
 * @param read Reads a file of the host's. @default {its text; `undefined` where it cannot be read}
 */
export function securityModule(read: (path: string) => string | undefined = readIfThere): SecurityModule | undefined {
  const names = read(MODULES)?.trim().split(",") ?? [];
  const modules = Object.keys(KNOWN) as SecurityModule[];
  return modules.find((module) => names.includes(KNOWN[module].name)) ??
    modules.find((module) => KNOWN[module].on.test(read(KNOWN[module].sign) ?? ""));
}

/** What is written where. AppArmor's attribute takes a command. */
export function labelFile(module: SecurityModule, context: string): { readonly path: string; readonly text: string } {
  return { path: KNOWN[module].attribute, text: module === "AppArmor" ? `exec ${context}` : context };
}

/**
 * The program that is executed next runs under a context (SELinux: `user:role:type:level`) or a profile (AppArmor). To be done while
 * there is a /proc.
 */
export function labelProgram(module: SecurityModule, context: string): ScriptStep[] {
  const { path, text } = labelFile(module, context);
  return writeFile(path, text);
}
