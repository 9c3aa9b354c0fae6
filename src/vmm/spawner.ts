/**
 * The spawner: a process beside a VMM that starts its device processes anew when they are lost.
 *
 * The VMM itself cannot, once it runs guests: its system call filter lets it neither open files nor make processes, so that a guest that
 * has taken it over cannot either. The spawner is started before, with the VMM's own command line, and does for whoever asks what that
 * says and nothing else. It takes no part in the guest: neither its memory nor a device's link is within its reach, but for the moment
 * in which it hands a new one over.
 *
 * The processes that it starts are children of the VMM (CLONE_PARENT), which waits for them and takes them along when it ends; the spawner
 * may come to harm without them.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";
import { closeFd, isInheritedFd } from "../ffi/file.ts";
import { denyNewPrivilegesHere } from "../ffi/jail/privileges.ts";
import { type ChildProcess, endWithParent, Signal } from "../ffi/process.ts";
import { closeAll, isUnixStreamSocket, MessageSocket } from "../ffi/socket.ts";
import type { ControllerConfig } from "../options/storage.ts";
import {
  type DeviceProcess,
  type JailedDeviceProcess,
  type SelfCommand,
  spawnDeviceProcess,
  spawnJailedDeviceProcess,
} from "../proxy/device_process.ts";
import type { LocalDeviceConfig, VmmConfig } from "./config.ts";
import { type ImageFile, type KnownImage, readKnownImages, requireSameImages } from "./known_images.ts";
import {
  encodeAnswer,
  KNOWN_IMAGES_FD,
  LockedImageError,
  REQUEST_SIZE,
  SPAWNER_FD,
  SpawnerAction,
} from "./spawner_protocol.ts";

/** How device processes are started. */
export interface SpawnerStart {
  readonly self: SelfCommand;
  /** Absolute paths of what they need to start besides the executable and its libraries. */
  readonly readable: readonly string[];
  /** Opens every file that a controller's images are made of. */
  readonly openFiles: (controller: ControllerConfig) => readonly ImageFile[];
  /** Whether somebody else writes to one that is open for writing: what is left of a process that was killed may, for a moment. */
  readonly areWritten: (files: readonly ImageFile[]) => boolean;
}

/**
 * Serves a VMM until that has gone away.
 *
 * @returns the exit status.
 * @throws {Error} when it was not started by a VMM.
 */
export function runSpawner(config: VmmConfig, start: SpawnerStart): number {
  if (!isInheritedFd(SPAWNER_FD) || !isUnixStreamSocket(SPAWNER_FD) || !isInheritedFd(KNOWN_IMAGES_FD)) {
    throw new Error("This part of splitvm is started by a virtual machine, and by nobody else");
  }
  endWithParent();
  denyNewPrivilegesHere();
  const known = readKnownImages(KNOWN_IMAGES_FD);
  closeFd(KNOWN_IMAGES_FD);
  return new Spawner(config, start, known).serve();
}

class Spawner {
  readonly #config: VmmConfig;
  readonly #start: SpawnerStart;
  readonly #known: readonly (readonly KnownImage[])[];
  readonly #socket = new MessageSocket(SPAWNER_FD);
  /** By device: its newest process, until its root has been emptied. */
  readonly #newest = new Map<number, DeviceProcess | JailedDeviceProcess>();

  /** @param known The images that each device was started with. */
  constructor(config: VmmConfig, start: SpawnerStart, known: readonly (readonly KnownImage[])[]) {
    this.#config = config;
    this.#start = start;
    this.#known = known;
  }

  /** @returns the exit status, once the VMM has gone away. */
  serve(): number {
    try {
      return this.#serve();
    } catch (error) {
      if (error instanceof SyscallError && error.errno === Errno.EPIPE) return 0;
      throw error;
    }
  }

  #serve(): number {
    const request = new Uint8Array(REQUEST_SIZE);
    for (;;) {
      for (let received = 0; received < REQUEST_SIZE;) {
        const step = this.#socket.receive(request, received, REQUEST_SIZE - received, true);
        closeAll(this.#socket.descriptors);
        if (step === 0) return 0;
        received += Math.max(step, 0);
      }
      const [action, device] = request;
      if (action === SpawnerAction.START) this.#spawn(device);
      else this.#emptyRoot(device);
    }
  }

  #spawn(device: number): void {
    this.#forget(device);
    const corpses: ChildProcess[] = [];
    try {
      const process = this.#spawnFor(device, corpses);
      this.#newest.set(device, process);
      this.#hand(process, corpses);
    } catch (error) {
      const isLocked = error instanceof LockedImageError;
      this.#answer(0, errorChain(error), corpses.map(({ pidfd }) => pidfd), isLocked);
    } finally {
      for (const corpse of corpses) corpse.close();
    }
  }

  /** A process that cannot be handed over must not stay. */
  #hand({ process, fd, control }: DeviceProcess, corpses: readonly ChildProcess[]): void {
    try {
      this.#answer(process.pid, "", [fd, control, process.pidfd, ...corpses.map(({ pidfd }) => pidfd)]);
    } catch (error) {
      process.kill(Signal.KILL);
      throw error;
    } finally {
      closeAll([fd, control]);
    }
  }

  #spawnFor(device: number, corpses: ChildProcess[]): DeviceProcess | JailedDeviceProcess {
    const { controller, sandboxed, securityContext } = this.#localDevice(device);
    const { self, readable } = this.#start;
    const sibling = { bury: (corpse: ChildProcess) => void corpses.push(corpse) };
    const files = this.#openFiles(device, controller);
    if (sandboxed) return spawnJailedDeviceProcess(self, controller, { files, readable, securityContext, sibling });
    closeAll(files.map(({ fd }) => fd));
    return spawnDeviceProcess(self, controller, sibling);
  }

  #openFiles(device: number, controller: ControllerConfig): readonly ImageFile[] {
    const files = this.#start.openFiles(controller);
    try {
      requireSameImages(files, this.#known[device] ?? []);
      if (this.#start.areWritten(files)) throw new LockedImageError("its images are still locked by another process");
      return files;
    } catch (error) {
      closeAll(files.map(({ fd }) => fd));
      throw error;
    }
  }

  #localDevice(device: number): LocalDeviceConfig {
    const found = this.#config.devices[device];
    if (found?.kind !== "local" || found.restarts === 0) throw new Error(`device ${device} is none to start again`);
    return found;
  }

  #emptyRoot(device: number): void {
    const process = this.#newest.get(device);
    try {
      // A wall that this host lacks has been told of when the first process was started.
      if (process !== undefined && "emptyRoot" in process) process.emptyRoot();
      this.#answer(0, "");
    } catch (error) {
      this.#answer(0, errorChain(error));
    } finally {
      this.#forget(device);
    }
  }

  #forget(device: number): void {
    this.#newest.get(device)?.process.close();
    this.#newest.delete(device);
  }

  /** The other end reads answers as they come. */
  #answer(pid: number, problem: string, descriptors: readonly number[] = [], isLocked = false): void {
    const bytes = encodeAnswer({ pid, problem, isLocked });
    for (let sent = 0; sent < bytes.length;) {
      sent += Math.max(0, this.#socket.send(bytes, sent, bytes.length - sent, sent === 0 ? descriptors : [], true));
    }
  }
}
