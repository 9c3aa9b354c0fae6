/**
 * Landlock (Documentation/userspace-api/landlock.rst): what a process may do with files, without a namespace and without privileges.
 *
 * @module
 */
import { Errno } from "../errno.ts";
import { syscalls } from "../syscall.ts";
import { call, type ScriptStep } from "./child_script.ts";
import { openPathCall } from "./namespaces.ts";

/** linux/landlock.h */
const CREATE_RULESET_VERSION = 1;
const RULE_PATH_BENEATH = 1;

/** Rights to files, as far as jails grant them (LANDLOCK_ACCESS_FS_*). */
export const FileAccess = { EXECUTE: 1, READ_FILE: 4, READ_DIRECTORY: 8 } as const;

/** Those that a rule for what is not a directory may grant. */
const OF_FILES = FileAccess.EXECUTE | FileAccess.READ_FILE;

/** How many rights to files each version has that is no longer than the next: version 1 has 13, REFER comes with 2, and so on. */
const FILE_RIGHTS = [0, 13, 14, 15, 15, 16];
/** Version 4: TCP, bind and connect. */
const NETWORK_RIGHTS = 0b11;
/** Version 6: abstract UNIX sockets and signals. */
const SCOPES = 0b11;

/** struct landlock_ruleset_attr: u64 handled_access_fs @0, handled_access_net @8 (version 4), scoped @16 (version 6). */
function rulesetAttributes(version: number): Uint8Array<ArrayBuffer> {
  const rights = FILE_RIGHTS[Math.min(version, FILE_RIGHTS.length - 1)];
  const words = [2n ** BigInt(rights) - 1n];
  if (version >= 4) words.push(BigInt(NETWORK_RIGHTS));
  if (version >= 6) words.push(BigInt(SCOPES));
  return new Uint8Array(BigUint64Array.from(words).buffer);
}

/** The version of this kernel's Landlock; 0 where it has none, or has it switched off. */
export function landlockVersion(): number {
  const version = syscalls().landlock_create_ruleset(new Uint8Array(0), 0, CREATE_RULESET_VERSION);
  return version === -Errno.ENOSYS || version === -Errno.EOPNOTSUPP ? 0 : Math.max(0, version);
}

/** A file, or a directory with all below it, and what may be done with it: bits of {@linkcode FileAccess}. */
export interface Allowance {
  readonly path: string;
  readonly access: number;
  readonly isDirectory: boolean;
}

/**
 * Takes every right to files from a process, but for those to read and execute what is allowed; TCP; and, where the kernel knows how to,
 * abstract UNIX sockets of and signals to processes outside. What is open stays usable. To be preceded by `denyNewPrivileges`.
 *
 * A path that is not there is allowed nothing.
 */
export function restrictFiles(version: number, allowed: readonly Allowance[]): ScriptStep[] {
  const attributes = rulesetAttributes(version);
  const ruleset = call("landlock_create_ruleset", [attributes, attributes.length, 0]);
  return [
    ruleset,
    ...allowed.flatMap(({ path, access, isDirectory }) => {
      const directory = openPathCall(path, true);
      // struct landlock_path_beneath_attr, packed: u64 allowed_access @0, s32 parent_fd @8; a result has 8 bytes.
      const rule = new Uint8Array(16);
      new DataView(rule.buffer).setBigUint64(0, BigInt(isDirectory ? access : access & OF_FILES), true);
      return [
        directory,
        { resultOf: directory, into: rule, offset: 8 },
        call("landlock_add_rule", [{ resultOf: ruleset }, RULE_PATH_BENEATH, rule, 0], { of: path, mayFail: true }),
        call("close", [{ resultOf: directory }], { mayFail: true }),
      ];
    }),
    call("landlock_restrict_self", [{ resultOf: ruleset }, 0]),
    call("close", [{ resultOf: ruleset }]),
  ];
}
