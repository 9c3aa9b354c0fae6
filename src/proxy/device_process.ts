/**
 * The device process of a device that the VMM's own command line names: `splitvm -machine remote`, spawned with one end of
 * a socketpair.
 *
 * @module
 */
import { Errno, SyscallError } from "../ffi/errno.ts";
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../ffi/process.ts";
import { closeAll, createSocketPair } from "../ffi/socket.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { deviceProcessArguments, type DeviceProcessFds } from "../options/device_arguments.ts";
import { freshIdentity, type JailedProcess, type SiblingOptions, spawnJailed } from "./jail.ts";
import { largestFile } from "./largest_file.ts";
import { spawnSibling } from "./sibling.ts";
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

/** One that is started in another's place may have to be started again and again; whoever reads the control socket tells why, once. */
function startErrorOf(sibling: SiblingOptions | undefined): "qmp" | undefined {
  return sibling === undefined ? undefined : "qmp";
}

/**
 * Spawns the device process of a controller. It shares standard error with this process, reads nothing and prints nothing, and ends
 * when the other end of its link is closed: so it does not outlive the VMM, whatever ends that.
 *
 * @param sibling Whether its parent is to be this process's own. @default {its parent is this process}
 */
export function spawnDeviceProcess(
  self: SelfCommand,
  controller: ControllerConfig,
  sibling?: SiblingOptions,
): DeviceProcess {
  const [ours, theirs] = createSocketPair();
  const [control, theirControl] = createSocketPair();
  try {
    const how = {
      command: [...self.command, ...deviceProcessArguments(controller, FDS, { startError: startErrorOf(sibling) })],
      env: self.env,
      // Ctrl-C is for the VMM, which ends the machine in good order and this process with it.
      ownGroup: true,
      descriptors: new Map([[0, null], [1, null], [FDS.link, theirs], [FDS.control!, theirControl]]),
    };
    const process = sibling === undefined ? spawn(how) : spawnSibling(how, sibling);
    return { fd: ours, control, process };
  } catch (cause) {
    closeAll([ours, control]);
    throw new Error(`Cannot start the device process of ${controller.id}`, { cause });
  } finally {
    closeAll([theirs, theirControl]);
  }
}

/** What a jailed device process is spawned with. */
export interface JailedSpawn {
  /** Every file that the controller's images are made of, open. They are closed here, whatever comes of it. */
  readonly files: readonly { readonly path: string; readonly fd: number }[];
  /** The context or profile that it is to run under. @default {as the host's policy has it} */
  readonly securityContext?: string;
  /** Absolute paths of what splitvm needs to start besides its executable and libraries. @default {nothing} */
  readonly readable?: readonly string[];
  /** As with {@linkcode spawnDeviceProcess}. */
  readonly sibling?: SiblingOptions;
}

/** A device process in a jail. */
export interface JailedDeviceProcess extends DeviceProcess, Pick<JailedProcess, "missing" | "emptyRoot"> {}

/**
 * Spawns the device process of a controller as {@linkcode spawnDeviceProcess} does, in a jail: it opens nothing, and is killed when this
 * thread ends. Once it has answered on its link, its root can be emptied.
 */
export function spawnJailedDeviceProcess(
  self: SelfCommand,
  controller: ControllerConfig,
  { files, readable, securityContext, sibling }: JailedSpawn,
): JailedDeviceProcess {
  const [ours, theirs] = createSocketPair();
  const [control, theirControl] = createSocketPair();
  const first = FDS.control! + 1;
  const jailed = { files: files.map(({ path }, i) => ({ path, fd: first + i })) };
  try {
    const descriptors: [number, number | null][] = [[0, null], [1, null], [FDS.link, theirs], [
      FDS.control!,
      theirControl,
    ]];
    const process = spawnJailed({
      command: [
        ...self.command,
        ...deviceProcessArguments(controller, FDS, { jailed, startError: startErrorOf(sibling) }),
      ],
      env: self.env,
      descriptors: new Map([...descriptors, ...files.map(({ fd }, i): [number, number] => [first + i, fd])]),
      readable,
      securityContext,
      largestFile: largestFile(controller.disks.map(({ drive }) => drive), files),
      // Ctrl-C is for the VMM, which ends the machine in good order and this process with it.
      ownGroup: true,
      identity: freshIdentity(),
      sibling,
    });
    return { fd: ours, control, ...process };
  } catch (cause) {
    closeAll([ours, control]);
    throw new Error(`Cannot start the device process of ${controller.id}`, { cause });
  } finally {
    closeAll([theirs, theirControl, ...files.map(({ fd }) => fd)]);
  }
}

/**
 * Waits for a device process whose link has been closed, and ends it by force when it takes too long.
 *
 * @returns how it ended.
 */
export function reapDeviceProcess({ process }: DeviceProcess): ExitStatus {
  return reapChild(process, GRACE);
}

/**
 * The same for any process that has been told to end, unless another thread has reaped it, as the control thread does with those that end before
 * the machine.
 *
 * @param grace How long it may take, in milliseconds.
 */
export function reapLeftChild(process: ChildProcess, grace: number = GRACE): void {
  try {
    reapChild(process, grace);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === Errno.ECHILD)) throw error;
    process.close();
  }
}

function reapChild(process: ChildProcess, grace: number): ExitStatus {
  if (pollFd(process.pidfd, Ready.IN, grace) === 0) process.kill(Signal.KILL);
  const status = process.wait();
  process.close();
  return status;
}
