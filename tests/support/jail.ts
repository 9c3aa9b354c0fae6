/**
 * Calls that a child makes behind the walls of a jail, and what came of each.
 *
 * @module
 */
import { type ScriptCall, type ScriptStep, startScript } from "../../src/ffi/jail/child_script.ts";
import { landlockVersion } from "../../src/ffi/jail/landlock.ts";
import { mapIdentity, Namespace } from "../../src/ffi/jail/namespaces.ts";
import { currentIdentity } from "../../src/ffi/jail/privileges.ts";
import type { ExitStatus } from "../../src/ffi/process.ts";
import type { Requirement } from "./requirements.ts";

const self = currentIdentity();
const isRoot = self.uid === 0;

/** What a child that is not root's needs before it has any other namespace. */
export const USER_NAMESPACE = isRoot ? 0 : Namespace.USER;

/** The first steps in such a namespace. */
export function enterUserNamespace(): ScriptStep[] {
  return isRoot ? [] : mapIdentity(self, self);
}

/** What a child did. */
export interface ScriptOutcome {
  readonly status: ExitStatus;
  /** What the calls returned; `undefined` for one that was not made. */
  readonly results: (number | undefined)[];
}

/** Runs `setUp`, none of which may fail, and then `calls`, each of which may; none is given the result of another. */
export function behind(setUp: readonly ScriptStep[], calls: readonly ScriptCall[], namespaces = 0): ScriptOutcome {
  const probes = calls.map((call) => ({ ...call, mayFail: true }));
  const { process, failed, resultOf } = startScript([...setUp, ...probes], { namespaces });
  const status = process.wait();
  process.close();
  if (failed !== undefined) throw failed;
  const results = probes.map(resultOf).map((result) => result === undefined ? undefined : Number(result));
  return { status, results };
}

/** Whether a child may have namespaces of its own. */
export const NAMESPACES: Requirement = {
  name: "namespaces",
  remedy: "be root, or allow user namespaces (sysctl user.max_user_namespaces)",
  isMet() {
    try {
      behind(enterUserNamespace(), [], USER_NAMESPACE | Namespace.MOUNT | Namespace.PID);
      return true;
    } catch {
      return false;
    }
  },
};

/** What only root can do. */
export const ROOT: Requirement = { name: "root", remedy: "run the tests as root", isMet: () => isRoot };

/** Restrictions of paths. */
export const LANDLOCK: Requirement = {
  name: "Landlock",
  remedy: "boot a kernel with CONFIG_SECURITY_LANDLOCK, and lsm=landlock,…",
  isMet: () => landlockVersion() > 0,
};
