/**
 * The last step into the jail, which a device process takes by itself: once it has all that it will ever open, it gives up opening.
 *
 * @module
 */
import { prepareEngines } from "../block/io_engine.ts";
import type { EventLoop } from "../event_loop.ts";
import { serviceFilter } from "../ffi/jail/device_calls.ts";
import { denyNewPrivilegesHere } from "../ffi/jail/privileges.ts";
import { filterThisProcess } from "../ffi/jail/seccomp.ts";

/**
 * Leaves this process, all its threads, the system calls that serving devices takes, for good.
 *
 * @param loop What the devices are served from; their images are open.
 * @throws {Error} when the kernel has no filters.
 */
export function lockDown(loop: EventLoop): void {
  prepareEngines(loop);
  try {
    denyNewPrivilegesHere();
    filterThisProcess(serviceFilter());
  } catch (cause) {
    throw new Error("Cannot restrict the device process's system calls (-sandbox off does without)", { cause });
  }
}
