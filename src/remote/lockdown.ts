/**
 * The last step into the jail, which a device process takes by itself: once it has all that it will ever open, it gives up opening.
 *
 * @module
 */
import { serviceFilter } from "../ffi/jail/device_calls.ts";
import { denyNewPrivilegesHere } from "../ffi/jail/privileges.ts";
import { filterThisProcess } from "../ffi/jail/seccomp.ts";

/**
 * Leaves this process, all its threads, the system calls that serving devices takes, for good.
 *
 * @throws {Error} when the kernel has no filters.
 */
export function lockDown(): void {
  try {
    denyNewPrivilegesHere();
    filterThisProcess(serviceFilter());
  } catch (cause) {
    throw new Error("Cannot restrict the device process's system calls (-sandbox off does without)", { cause });
  }
}
