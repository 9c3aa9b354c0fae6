/**
 * The device process of a device that the VMM's own command line names: `splitvm -machine remote`, spawned with one end of
 * a socketpair.
 *
 * @module
 */
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../ffi/process.ts";
import { closeAll, createSocketPair } from "../ffi/socket.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { deviceProcessArguments, type DeviceProcessFds } from "../options/device_arguments.ts";
import type { ControllerConfig } from "../options/storage.ts";

/** How to start another splitvm: program and leading arguments, and the environment. */
export interface SelfCommand {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** A device process that was spawned for one controller. */
export interface DeviceProcess {
  /** The link's socket at this end; whoever uses it closes it. */
  readonly fd: number;
  /** A socket at whose other end the process serves QMP; whoever uses it closes it. */
  readonly control: number;
  readonly process: ChildProcess;
}

/** The numbers of its descriptors in the device process. */
const FDS: DeviceProcessFds = { link: 3, control: 4 };

/** How long a device process may take to flush and end once its link is closed, in milliseconds. */
const GRACE = 5_000;

/**
 * Spawns the device process of a controller. It shares standard error with this process, reads nothing and prints nothing, and ends
 * when the other end of its link is closed: so it does not outlive the VMM, whatever ends that.
 */
export function spawnDeviceProcess(self: SelfCommand, controller: ControllerConfig): DeviceProcess {
  const [ours, theirs] = createSocketPair();
  const [control, theirControl] = createSocketPair();
  try {
    const process = spawn({
      command: [...self.command, ...deviceProcessArguments(controller, FDS)],
      env: self.env,
      // Ctrl-C is for the VMM, which ends the machine in good order and this process with it.
      ownGroup: true,
      descriptors: new Map([[0, null], [1, null], [FDS.link, theirs], [FDS.control!, theirControl]]),
    });
    return { fd: ours, control, process };
  } catch (cause) {
    closeAll([ours, control]);
    throw new Error(`Cannot start the device process of ${controller.id}`, { cause });
  } finally {
    closeAll([theirs, theirControl]);
  }
}

/**
 * Waits for a device process whose link has been closed, and ends it by force when it takes too long.
 *
 * @returns how it ended.
 */
export function reapDeviceProcess({ process }: DeviceProcess): ExitStatus {
  if (pollFd(process.pidfd, Ready.IN, GRACE) === 0) process.kill(Signal.KILL);
  const status = process.wait();
  process.close();
  return status;
}
